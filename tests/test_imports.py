"""Imports run one way: estimators -> mixins -> algorithms -> linalg. Nothing heavy comes along."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sklearn_nnrecover

PACKAGE = "sklearn_nnrecover"
ROOT = Path(sklearn_nnrecover.__file__).parent
WINGS = ("networks", "dictionaries", "products")
SKLEARN_COMPAT = f"{PACKAGE}.base._sklearn_compat"
STANDARD = set(sys.stdlib_module_names)


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path: Path, root: Path = ROOT):
    """Dotted names that a file imports anywhere: ``from a.b import c`` gives ``a.b.c``.

    Imports made for type checkers alone do not run and are left out.
    """
    package = module_name(path, root).split(".")
    if path.name != "__init__.py":
        package = package[:-1]

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(path.read_text()))


def inside(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def violations(path: Path, root: Path = ROOT) -> list[str]:
    """Imports of a file that break the rules of its layer, each with the rule it breaks."""
    module = module_name(path, root)
    package, *folders = module.split(".")
    layer = folders[0] if folders else ""
    algorithm = layer in WINGS and path.name != "__init__.py" and not path.name.startswith("_")
    found = []
    for name in imported_names(path, root):
        first = name.split(".")[0]
        ours = first == package
        if first in STANDARD:
            continue
        if layer in WINGS and any(inside(name, f"{package}.{w}") for w in WINGS if w != layer):
            found.append(f"{name}: wings never import each other")
        if first == "sklearn" and is_private(name) and module != SKLEARN_COMPAT:
            found.append(f"{name}: private names of scikit-learn enter through {SKLEARN_COMPAT}")
        if layer == "linalg":
            allowed = first in {"numpy", "scipy"} or name == "sklearn.get_config"
            if not (allowed or inside(name, f"{package}.linalg")):
                found.append(f"{name}: linalg imports NumPy and SciPy only")
        elif algorithm:
            if ours:
                sibling = inside(name, f"{package}.{layer}") and not is_private(name)
                if not (sibling or inside(name, f"{package}.linalg")):
                    found.append(f"{name}: algorithms know linalg and each other only")
            elif first == "sklearn":
                estimator = name.split(".")[-1][0].isupper() and not any(
                    inside(name, module) for module in ("sklearn.exceptions", "sklearn.utils")
                )
                if estimator or inside(name, "sklearn.base"):
                    found.append(f"{name}: algorithms call scikit-learn's functions, not classes")
            elif first not in {"numpy", "scipy"}:
                found.append(f"{name}: algorithms import NumPy and SciPy only")
        elif layer == "base" and any(inside(name, f"{package}.{w}") for w in WINGS):
            found.append(f"{name}: what is shared knows no wing")
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=module_name)
def test_layers(path):
    assert violations(path) == []


def part_of_wing(name: str, wing: str) -> str:
    """Folder, or file of the wing itself, that a dotted name belongs to; empty if of none."""
    prefix = f"{PACKAGE}.{wing}."
    return name.removeprefix(prefix).split(".")[0] if name.startswith(prefix) else ""


@pytest.mark.parametrize("wing", WINGS)
def test_parts_of_a_wing_do_not_need_each_other(wing):
    needs: dict[str, set[str]] = {}
    for path in (ROOT / wing).rglob("*.py"):
        part = part_of_wing(module_name(path), wing)
        others = {part_of_wing(name, wing) for name in imported_names(path)}
        needs.setdefault(part, set()).update(others - {part, ""})
    order = TopologicalSorter(needs)
    order.prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("networks/pencil.py", "from sklearn_nnrecover.products import lifting", "wings"),
        ("networks/_net.py", "from ..products.lifting import lift", "wings"),
        ("networks/pencil.py", "from sklearn_nnrecover.base import RecoveryReport", "algorithms"),
        ("networks/pencil.py", "from sklearn_nnrecover.networks._net import Net", "algorithms"),
        ("networks/pencil.py", "from sklearn.linear_model import Ridge", "classes"),
        ("networks/pencil.py", "import matplotlib.pyplot as plt", "NumPy"),
        ("networks/_net.py", "from sklearn.base import _fit_context", "private"),
        ("networks/_net.py", "import sklearn.utils._param_validation", "private"),
        ("linalg/blocks.py", "from sklearn.utils import gen_batches", "linalg"),
        ("linalg/blocks.py", "from ..base import report", "linalg"),
        ("base/inputs.py", "from ..networks.pencil import solve", "no wing"),
    ],
)
def test_broken_rules_are_found(tmp_path, file, line, rule):
    path = tmp_path / PACKAGE / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def late():\n    {line}\n")
    found = violations(path, tmp_path / PACKAGE)
    assert any(rule in broken for broken in found)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("networks/pencil.py", "from ..linalg.blocks import row_blocks"),
        ("networks/pencil.py", "from sklearn_nnrecover.networks import lifted_system"),
        ("networks/pencil.py", "from sklearn.decomposition import fastica"),
        ("networks/pencil.py", "from scipy.linalg import lapack"),
        ("networks/_net.py", "from sklearn_nnrecover.networks import pencil"),
        ("networks/_net.py", "from ..base._sklearn_compat import _fit_context"),
        ("base/_sklearn_compat.py", "from sklearn.base import _fit_context"),
        ("linalg/blocks.py", "from sklearn import get_config"),
    ],
)
def test_kept_rules_are_accepted(tmp_path, file, line):
    path = tmp_path / PACKAGE / file
    path.parent.mkdir(parents=True)
    path.write_text(f"{line}\n")
    assert violations(path, tmp_path / PACKAGE) == []


def run_python(code: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return finished.stdout


def test_import_brings_nothing_heavy():
    # scikit-learn itself imports some of these where they are installed.
    modules = [
        {
            name.split(".")[0]
            for name in run_python(f"import sys, {given}; print(*sys.modules)").split()
        }
        for given in ("sklearn.base, sklearn.callback", PACKAGE)
    ]
    heavy = {"matplotlib", "pandas", "polars", "pyarrow", "rich", "torch"}
    assert not (modules[1] - modules[0]) & heavy


def test_import_is_quick():
    code = (
        "import time, sklearn; start = time.process_time(); "
        f"import {PACKAGE}; print(time.process_time() - start)"
    )
    assert statistics.median(float(run_python(code)) for _ in range(5)) < 0.2
