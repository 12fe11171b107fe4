"""What the documents name is there: files, links between pages, and what their examples import."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from keras_int8nmt.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCS = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in path.parts]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS]
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


def anchors(page: Path) -> set[str]:
    """Those that GitHub and the site give the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@by_page
def test_links_into_pages_lead_to_a_heading(page):
    links = re.findall(r"\]\(([^)#\s:]*\.md)?#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    targets = [(page.parent / path if path else page, anchor) for path, anchor in links]
    assert not [(path.name, anchor) for path, anchor in targets if anchor not in anchors(path)]


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


def commands_of(page: Path) -> Iterator[list[str]]:
    """Indented lines that call the command, without what stands for a choice or may be left out."""
    for line in re.findall(
        r"^ {4}keras-int8nmt (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE
    ):
        bare = re.sub(r"\[[^]]*\]", "", re.sub(r"\s#.*", "", line))
        yield shlex.split(re.sub(r"\|\S+", "", bare).replace(" ...", ""))


@by_page
def test_commands_on_a_page_are_what_the_parser_takes(page):
    from keras_int8nmt.cli.command_line import make_parser

    for words in commands_of(page):
        make_parser().parse_args(words)


def test_options_that_may_be_left_out_are_there_as_well():
    from keras_int8nmt.cli.command_line import make_parser

    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for line in re.findall(r"^ {4}keras-int8nmt (.*)$", text, re.MULTILINE):
            command = next(word for word in line.split() if not word.startswith("-"))
            if command not in COMMANDS:
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
                make_parser().parse_args([command, "--help"])
            named = re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)
            assert not [option for option in named if option not in out.getvalue()], line


def test_every_variable_of_the_environment_is_on_its_page():
    package = ROOT / "keras_int8nmt"
    sources = [*package.rglob("*.py"), *(package / "cc").rglob("*.cc")]
    read = r"(?:environ|getenv|VARIABLE|SWITCH|Registry)[^\n]*\n?[^\n]*\"(KERAS_INT8NMT_[A-Z_]+)\""
    used = {n for path in sources for n in re.findall(read, path.read_text(encoding="utf-8"))}
    assert len(used) >= 4
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    assert not [name for name in sorted(used) if f"`{name}`" not in page]


def test_the_reference_has_every_face():
    text = (ROOT / "scripts" / "build_docs.py").read_text(encoding="utf-8")
    assigned = [
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    ]
    rooms = ast.literal_eval(assigned[0])
    faces = {
        path.parent.name
        for path in (ROOT / "keras_int8nmt").glob("*/__init__.py")
        if "__all__" in path.read_text(encoding="utf-8")
    }
    # The command has a page of its own.
    assert sorted(rooms) == sorted(faces - {"cli"})


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 600


def figures_of_rows(page: Path) -> list[set[str]]:
    """Of each row of the page's tables the numbers of three digits or more, where it has two."""
    found = []
    for row in re.findall(r"^\|.*$", page.read_text(encoding="utf-8"), re.MULTILINE):
        numbers = re.findall(r"\d[\d,]*(?:\.\d+)?", row)
        figures = {n for n in numbers if len(re.sub(r"\D", "", n).lstrip("0")) >= 3}
        if len(figures) >= 2:
            found.append(figures)
    return found


# Which may: the models of the generated page side by side, with the recipes that matter.
SUMMARIES = {("accuracy.md", "benchmarks-accuracy.md")}


def test_no_page_repeats_a_table_of_another():
    rows = {page.name: figures_of_rows(page) for page in DOCS}
    assert sum(map(len, rows.values())) > 100
    repeated = {
        (one, other): sum(
            any(len(row & theirs) >= 2 for theirs in rows[other]) for row in rows[one]
        )
        for one, other in itertools.permutations(rows, 2)
    }
    found = {pair for pair, count in repeated.items() if count >= 3}
    assert {tuple(sorted(pair)) for pair in found} == SUMMARIES
