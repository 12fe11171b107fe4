"""Where figures and pages go, and what a page keeps of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from keras_int8nmt.bench.documents import (
    commit_of_figures,
    read_figures,
    write_figures,
    write_section,
)
from keras_int8nmt.bench.errors import BenchError

ROOT = Path(__file__).parents[2]


def test_figures_lie_beside_the_pages_where_there_is_no_folder_of_results(tmp_path):
    named = write_figures(tmp_path / "docs", "benchmarks-x", {"rows": [1]})
    assert named == "Every figure of the run: [benchmarks-x.json](benchmarks-x.json).\n"
    assert json.loads((tmp_path / "docs" / "benchmarks-x.json").read_text()) == {"rows": [1]}
    assert read_figures(tmp_path / "docs", "benchmarks-x") == {"rows": [1]}
    assert read_figures(tmp_path / "docs", "benchmarks-y") is None


def test_figures_of_a_checkout_lie_apart_from_its_pages(tmp_path):
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    named = write_figures(tmp_path / "docs", "benchmarks-x", {"rows": []})
    assert "(../benchmarks/results/benchmarks-x.json)" in named
    assert [path.name for path in results.iterdir()] == ["benchmarks-x.json"]
    assert list((tmp_path / "docs").iterdir()) == []
    assert read_figures(tmp_path / "docs", "benchmarks-x") == {"rows": []}


def git(folder, *words):
    settings = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *settings, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_figures_of_a_checkout_tell_its_commit_and_whether_it_was_changed(tmp_path):
    (tmp_path / "keras_int8nmt").mkdir()
    source = tmp_path / "keras_int8nmt" / "a.py"
    source.write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    docs = tmp_path / "docs"
    write_figures(docs, "benchmarks-x", {"rows": []})
    head = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert read_figures(docs, "benchmarks-x")["commit"] == head
    assert commit_of_figures(docs, "benchmarks-x") == head
    source.write_text("2\n")
    write_figures(docs, "benchmarks-x", {"rows": []})
    assert read_figures(docs, "benchmarks-x")["commit"] == head + "+"
    # What is told stays, as of parts that were measured earlier.
    write_figures(docs, "benchmarks-x", {"rows": [], "commit": "0" * 7})
    assert commit_of_figures(docs, "benchmarks-x") == "0" * 7


def test_figures_that_do_not_tell_are_of_the_commit_of_their_file(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "benchmarks-x.json").write_text('{"rows": []}')
    assert commit_of_figures(tmp_path / "docs", "benchmarks-x") == ""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    head = git(tmp_path, "rev-parse", "--short", "HEAD")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "two")
    assert commit_of_figures(tmp_path / "docs", "benchmarks-x") == head


def test_a_section_is_replaced_and_the_rest_of_the_page_stays(tmp_path):
    page = tmp_path / "page.md"
    write_section(page, "Title", "x", "one\n")
    assert page.read_text() == "# Title\n\n<!-- x: begin -->\n\none\n\n<!-- x: end -->\n"
    page.write_text(page.read_text().replace("# Title", "# By hand") + "\nAfter.\n")
    write_section(page, "Title", "x", "two")
    assert page.read_text() == (
        "# By hand\n\n<!-- x: begin -->\n\ntwo\n\n<!-- x: end -->\n\nAfter.\n"
    )


def test_a_page_without_the_marks_gets_them_at_its_end(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Mine\n\nText.\n")
    write_section(page, "Title", "x", "one")
    assert page.read_text().startswith("# Mine\n\nText.\n\n<!-- x: begin -->\n\none\n")
    page.write_text("# Mine\n\n<!-- x: begin -->\n\nText that would be lost.\n")
    with pytest.raises(BenchError, match="not '<!-- x: end -->'"):
        write_section(page, "Title", "x", "one")


@pytest.mark.parametrize("name", ["accuracy", "corpus", "translate"])
def test_the_repositorys_figures_are_found_and_named_by_its_pages(name):
    figures = read_figures(ROOT / "docs", f"benchmarks-{name}")
    assert figures is not None
    assert figures["rows"]
    page = "corpus" if name == "corpus" else f"benchmarks-{name}"
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert f"(../benchmarks/results/benchmarks-{name}.json)" in text
