"""Fresh randomness for every run, and an order that fails early.

Each run draws one base seed, shown in pytest's header and beside every failure; ``--seed N``
repeats a run. Each test derives a seed of its own from the base seed and its name, so that it
sees the same instance whether it runs alone, in another order or on another worker.
"""

from __future__ import annotations

import secrets
import zlib

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("no deadline", deadline=None, print_blob=True)
hypothesis.settings.load_profile("no deadline")

FIRST_TO_LAST = ("linalg", "base", "networks", "dictionaries", "products", "", "common")


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="base seed that repeats an earlier run")


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        config.base_seed = config.workerinput["base_seed"]
    else:
        given = config.getoption("--seed")
        config.base_seed = secrets.randbelow(2**31) if given is None else given


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Hand the controller's seed to a worker of pytest-xdist."""
    node.workerinput["base_seed"] = node.config.base_seed


def pytest_report_header(config):
    return f"random instances: --seed {config.base_seed}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and "seed" in getattr(item, "fixturenames", ()):
        report.sections.append(("Random instance", f"repeat with --seed {item.config.base_seed}"))
    return report


def pytest_collection_modifyitems(config, items):
    """Run the ground floor first, whole estimators after it, doctests and slow tests last."""
    root = config.rootpath / "tests"

    def rank(item):
        slow = item.get_closest_marker("slow") is not None
        if not item.path.is_relative_to(root):
            return slow, len(FIRST_TO_LAST)
        folder = item.path.relative_to(root).parts[0] if item.path.parent != root else ""
        return slow, FIRST_TO_LAST.index(folder) if folder in FIRST_TO_LAST else 0

    items.sort(key=rank)


@pytest.fixture
def seed(request):
    """A seed of this test's own: new in each run, repeated by ``--seed``."""
    name = zlib.crc32(request.node.nodeid.encode())
    return int(np.random.SeedSequence([request.config.base_seed, name]).generate_state(1)[0])


@pytest.fixture
def rng(seed):
    """The random state that a ``fit`` would draw from ``random_state=seed``."""
    return np.random.RandomState(seed)
