"""Where figures and pages go, and what a page keeps of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keras_int8nmt.bench.documents import read_figures, write_figures, write_section
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
