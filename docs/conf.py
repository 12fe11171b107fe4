"""The site of the pages in this folder; `make docs` builds it (scripts/build_docs.py).

The pages stay plain Markdown. What a site needs besides, the tables of contents, is added to
index.md here: a new page is in the first of the parts that it fits, and where it fits none a guide.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import Any

from keras_int8nmt import __version__

project = "keras-int8nmt"
author = "The keras-int8nmt maintainers"
copyright = "the keras-int8nmt maintainers, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Call arguments", "params_style")]
autodoc_typehints = "none"
# What Keras says of its own methods is in its own format.
autodoc_inherit_docstrings = False
# Docstrings quote code with single backticks.
default_role = "code"
nitpicky = False

html_theme = "furo"
html_title = f"keras-int8nmt {release}"
html_show_sphinx = False
html_copy_source = False

# Which pages a part has, in this order; the first part that a page fits has it, and those that fit
# none are guides.
GUIDES = "Guides"
PARTS = {
    "Start": ["start"],
    "Tutorials": [
        "generated/tutorial-from-text",
        "generated/tutorial-opus-mt",
        "generated/tutorial-own-model",
        "generated/tutorial-learned-thresholds",
        "generated/tutorial-find-the-layer",
        "generated/tutorial-corpus",
        "generated/tutorial-serve",
        "generated/tutorial-paper",
        "generated/tutorial-*",
    ],
    "How-to": ["how-to/*"],
    GUIDES: ["importers", "training", "calibration", "qat"],
    "Explained": [
        "native-decoder",
        "number-rules",
        "integer-functions",
        "accuracy",
        "evaluation",
        "benchmarks",
        "benchmarks-*",
        "peers",
        "reliability",
        "diary",
    ],
    "Reference": [
        "generated/api",
        "generated/api-*",
        "generated/command-line",
        "environment",
        "model_spec",
        "versions",
        "glossary",
        "generated/changelog",
    ],
    "Contributors": ["generated/contributing", "architecture"],
}


def parts(pages: set[str]) -> dict[str, list[str]]:
    """The pages of each part."""
    left = sorted(pages - {"index"})
    found: dict[str, list[str]] = {}
    for part, patterns in PARTS.items():
        for pattern in patterns:
            fitting = [page for page in left if fnmatch(page, pattern)]
            found.setdefault(part, []).extend(fitting)
            left = [page for page in left if page not in fitting]
    found[GUIDES] += left
    return {part: names for part, names in found.items() if names}


def add_contents(app: Any, docname: str, source: list[str]) -> None:
    if docname == "index":
        for part, names in parts(set(app.env.found_docs)).items():
            entries = "\n".join(names)
            source[0] += f"\n```{{toctree}}\n:caption: {part}\n:hidden:\n\n{entries}\n```\n"


def link_tutorials(app: Any, docname: str, source: list[str]) -> None:
    """A link to the script of a tutorial is one to its page."""

    def page(link: re.Match[str]) -> str:
        return "/generated/" + link[1].replace("_", "-") + ".md"

    source[0] = re.sub(r"(?<=\]\()[./]*examples/(tutorial_\w+)\.py(?=\))", page, source[0])


def escape(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """What docstrings say in plain text and reStructuredText would read as its own."""
    for i, line in enumerate(lines):
        line = re.sub(r"\|(\w+)\|", r"\\|\1\\|", line)
        lines[i] = re.sub(r"(`[^`\s][^`]*`)(?=\w)", r"\1\\ ", line)


def setup(app: Any) -> None:
    # Before napoleon makes fields of the sections.
    app.connect("autodoc-process-docstring", escape, priority=400)
    app.connect("source-read", add_contents)
    app.connect("source-read", link_tutorials)
