"""The script that tells which figures are older than what they measure, and its table."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest
from test_docs import anchors

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "old_figures.py"))
ROWS = SCRIPT["read_table"](ROOT / "benchmarks" / "figures.toml")
by_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command)


@by_row
def test_what_a_row_names_is_there(row):
    from keras_int8nmt.cli.command_line import make_parser

    for page in row.pages:
        name, _, anchor = page.partition("#")
        assert (ROOT / name).is_file()
        assert not anchor or anchor in anchors(ROOT / name), page
    assert [path for path in row.measures if not (ROOT / path).exists()] == []
    program, *words = shlex.split(row.command)
    if program == "keras-int8nmt":
        make_parser().parse_args(words)
    else:
        assert (ROOT / words[0]).is_file()


def test_every_result_that_is_kept_is_in_the_table():
    kept = {path.name for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert kept <= {row.result for row in ROWS}


def test_every_benchmark_with_figures_is_in_the_table():
    from keras_int8nmt.bench.benchmarks import BENCHMARKS

    named = {row.command.split()[2] for row in ROWS if row.command.startswith("keras-int8nmt")}
    assert named == set(BENCHMARKS)


# ---- on a repository of its own


def git(folder, *words):
    settings = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *settings, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder, message, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "--short", "HEAD")


TABLE = """
[sources]
both = ["keras_int8nmt/cc", "fast.py"]
[[figures]]
pages = ["README.md"]
command = "measure"
measures = ["both"]
"""


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "keras_int8nmt" / "cc").mkdir(parents=True)
    (tmp_path / "keras_int8nmt" / "cc" / "kernel.cc").write_text("1")
    (tmp_path / ".gitignore").write_text("_native\n")
    (tmp_path / "benchmarks" / "figures.toml").write_text(TABLE + 'result = "x.json"\n')
    (tmp_path / "fast.py").write_text("1")
    commit(tmp_path, "the sources")
    return tmp_path


def result(folder, **entries):
    (folder / "benchmarks" / "results" / "x.json").write_text(json.dumps(entries))
    return commit(folder, "a result")


def old(folder):
    return SCRIPT["old_figures"](folder)


def test_figures_are_old_after_a_change_of_what_they_measure_and_of_nothing_else(repository):
    measured = result(repository, machine={})
    commit(repository, "another file", slow="1")
    assert old(repository) == []
    (repository / "fast.py").write_text("2")
    (found,) = old(repository)
    assert (found.changes, found.draft) == ([], ["fast.py"])
    commit(repository, "faster")
    (found,) = old(repository)
    assert found.measured.startswith(measured + " of ")
    assert [change.split(" ", 2)[2] for change in found.changes] == ["faster"]
    assert found.draft == []


def test_a_result_that_tells_its_commit_is_as_old_as_that(repository):
    measured = git(repository, "rev-parse", "--short", "HEAD")
    (repository / "fast.py").write_text("2")
    result(repository, commit=measured + "+")
    (found,) = old(repository)
    assert found.measured.startswith(measured)
    result(repository, commit=git(repository, "rev-parse", "--short", "HEAD"))
    assert old(repository) == []


def test_a_commit_of_the_table_counts_where_the_result_tells_none(repository):
    first = git(repository, "rev-parse", "--short", "HEAD")
    (repository / "fast.py").write_text("2")
    table = repository / "benchmarks" / "figures.toml"
    table.write_text(f'{TABLE}result = "x.json"\ncommit = "{first}"\n')
    result(repository)
    (found,) = old(repository)
    assert found.measured.startswith(first)


def test_cpp_does_not_count_where_the_library_is_the_one_that_was_measured(repository):
    library = repository / "keras_int8nmt" / "_native" / "libkeras_int8nmt_core.so"
    library.parent.mkdir()
    library.write_bytes(b"library")
    result(repository, machine={"native library": hashlib.sha256(b"library").hexdigest()[:12]})
    (repository / "keras_int8nmt" / "cc" / "kernel.cc").write_text("// said otherwise")
    commit(repository, "a comment")
    assert old(repository) == []
    library.write_bytes(b"another")
    assert len(old(repository)) == 1
    library.unlink()
    assert len(old(repository)) == 1


def test_a_result_that_is_not_there_yet_is_passed_over(repository):
    (repository / "fast.py").write_text("2")
    assert old(repository) == []


@pytest.mark.parametrize(
    ("rest", "message"),
    [("", "need a result or a commit"), ('result = "x"\npages = []\n', "needs pages")],
)
def test_a_row_that_lacks_something_is_refused(tmp_path, rest, message):
    text = TABLE.replace('pages = ["README.md"]\n', "") if "pages" in rest else TABLE
    (tmp_path / "figures.toml").write_text(text + rest)
    with pytest.raises(ValueError, match=message):
        SCRIPT["read_table"](tmp_path / "figures.toml")


def test_the_script_lists_the_figures_of_this_checkout():
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    commits = {row.commit for row in ROWS if row.commit}
    missing = [c for c in commits if not known_commit(c)]
    if missing:
        pytest.skip("a shallow clone")
    for found in old(ROOT):
        assert found.changes or found.draft
        assert re.fullmatch(r"[0-9a-f]{7,} of \d{4}-\d\d-\d\d", found.measured)


def known_commit(name):
    command = ["git", "-C", str(ROOT), "cat-file", "-e", f"{name}^{{commit}}"]
    return subprocess.run(command, capture_output=True).returncode == 0
