"""Configuration of the site: user guide, API, gallery. Warnings are errors (see the Makefile)."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path

import sklearn_nnrecover

project = "sklearn_nnrecover"
author = "The sklearn-nnrecover developers"
project_copyright = f"2026, {author}"
version = release = sklearn_nnrecover.__version__

# The gallery shows the demonstration for one teacher a data set; `make demo` reports ten.
os.environ.setdefault("N_TEACHERS", "1")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "auto_examples/**/*.ipynb", "auto_examples/**/*.py"]
suppress_warnings = ["config.cache"]
templates_path = ["_templates"]
default_role = "literal"
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 2,
}
html_show_sourcelink = False

# Links into other projects need the network, and the site must build without it.
if os.environ.get("SPHINX_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

autodoc_typehints = "none"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    "GL03",  # blank lines
    "GL06",  # unknown section
    "GL07",  # sections out of order
    "GL08",  # no docstring
    "PR01",  # parameters not documented
    "PR02",  # unknown parameters
    "PR03",  # parameters out of order
    "PR04",  # parameter without a type
    "PR07",  # parameter without a description
    "RT03",  # return value without a description
    "SS01",  # no summary
    "SS04",  # leading spaces in the summary
    "YD01",  # no Yields section
}
# Made or inherited from scikit-learn, and documented there.
numpydoc_validation_exclude = {
    r"\.(fit_transform|get_feature_names_out|get_metadata_routing|get_params)$",
    r"\.(score|set_callbacks|set_output|set_params)$",
    r"\.set_\w+_request$",
    # Named tuples and data classes: their parameters are the attributes that they document.
    r"\.(Certificate|Condition|DeepNullSpaceConstant|Match|StabilityBound|Witness)$",
    # Documented in their base class.
    r"\.structures\.(?!Structure\.)\w+\.(adjoint|basis|matrix)$",
}

sphinx_gallery_conf = {
    "abort_on_example_error": True,
    "backreferences_dir": "api/backreferences",
    "doc_module": ("sklearn_nnrecover",),
    "download_all_examples": False,
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "min_reported_time": 5,
    "nested_sections": True,
    "reference_url": {"sklearn_nnrecover": None},
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

# One section of the API page per module; it lists the module's ``__all__``.
PUBLIC_MODULES = [
    "sklearn_nnrecover.networks",
    "sklearn_nnrecover.dictionaries",
    "sklearn_nnrecover.products",
    "sklearn_nnrecover.products.structures",
    "sklearn_nnrecover.products.identifiability",
    "sklearn_nnrecover.base",
    "sklearn_nnrecover.metrics",
    "sklearn_nnrecover.datasets",
    "sklearn_nnrecover.inspection",
    "sklearn_nnrecover.exceptions",
]


def write_api_page(app, config):
    """Write ``api/index.rst`` from what the public modules export."""
    lines = ["===", "API", "===", ""]
    for name in PUBLIC_MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                continue
            raise
        public = [item for item in getattr(module, "__all__", ()) if not item.startswith("__")]
        classes = [item for item in public if inspect.isclass(getattr(module, item))]
        warnings = [item for item in classes if issubclass(getattr(module, item), Warning)]
        classes = [item for item in classes if item not in warnings]
        functions = [item for item in public if inspect.isfunction(getattr(module, item))]
        if not classes + functions + warnings:
            continue
        summary = inspect.getdoc(module).splitlines()[0]
        lines += [name, "=" * len(name), "", summary, "", f".. currentmodule:: {name}", ""]
        for title, template, wanted in (
            ("Classes", "class.rst", classes),
            ("Functions", "base.rst", functions),
            ("Warnings", "base.rst", warnings),
        ):
            if wanted:
                lines += [f".. rubric:: {title}", "", ".. autosummary::", "   :toctree: generated"]
                lines += [f"   :template: {template}", "", *(f"   {item}" for item in wanted), ""]
    page = Path(app.srcdir, "api", "index.rst")
    page.parent.mkdir(exist_ok=True)
    text = "\n".join(lines)
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def setup(app):
    # Before Sphinx lists its sources, in which autosummary looks for pages to generate.
    app.connect("config-inited", write_api_page)
