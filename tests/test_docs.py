"""What the documents name is there: files, links between pages, and what their examples import."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Where a page's paths begin.
BASES = [ROOT, ROOT / "keras_int8nmt", ROOT / "keras_int8nmt" / "cc", ROOT / "docs"]
SUFFIXES = ("cc", "cmake", "h", "py", "toml")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def named_paths(text: str) -> Iterator[str]:
    """Files with a folder, and folders with a slash at their end, between backticks."""
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(rf"[\w./-]+/([\w-]+\.({'|'.join(SUFFIXES)}))?", quoted):
            yield quoted


@by_page
def test_files_that_a_page_names_are_there(page):
    paths = set(named_paths(page.read_text(encoding="utf-8")))
    missing = [path for path in sorted(paths) if not any((base / path).exists() for base in BASES)]
    assert not missing


def test_the_map_names_files_below_the_package_alone():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## To change X, go to Y")[2].partition("\n## ")[0]
    quoted = {path for path in re.findall(r"`([^`\n]+)`", table) if "." in path or "/" in path}
    assert len(quoted) > 40
    package = ROOT / "keras_int8nmt"
    assert not [
        path for path in sorted(quoted - {"keras_int8nmt/"}) if not (package / path).exists()
    ]


@by_page
def test_links_between_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


def examples(page: Path) -> Iterator[ast.Module]:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        yield ast.parse(block)


@by_page
def test_names_that_a_pages_examples_import_are_exported(page):
    for tree in examples(page):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("keras_int8nmt"):
                module = importlib.import_module(str(node.module))
                assert not [a.name for a in node.names if not hasattr(module, a.name)]


def test_the_table_of_costs_names_tests_that_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Cost of change")[2].partition("\n## ")[0]
    tests = [ROOT / "tests" / "test_cost_of_change.py", *(ROOT / "tests" / "cc").glob("test_*.py")]
    proofs = "".join(path.read_text(encoding="utf-8") for path in tests)
    functions, classes = re.findall(r"`(test_\w+)`", table), re.findall(r"`(Test\w+)`", table)
    files = re.findall(r"`(tests/cc/\w+\.cc)`", table)
    assert functions
    assert classes
    assert files
    assert not [name for name in functions if f"def {name}(" not in proofs]
    assert not [name for name in classes if f"class {name}:" not in proofs]
    assert not [name for name in files if not (ROOT / name).is_file()]
