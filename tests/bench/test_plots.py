"""Plots of benchmarks: names for people, error bars, and pages written anew without measuring."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from keras_int8nmt.bench import benchmarks, documents, plots
from keras_int8nmt.bench.benchmarks import BENCHMARKS
from keras_int8nmt.bench.corpus import report as corpus
from keras_int8nmt.bench.startup import report as startup
from keras_int8nmt.bench.translation import plot as translation
from keras_int8nmt.bench.translation.engines import ENGINES
from keras_int8nmt.cli.command_line import main

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
KEPT = [("translate", ""), ("translate", "avx2"), ("startup", ""), ("corpus", "")]
DRAWS = {"translate": translation.draw, "startup": startup.draw, "corpus": corpus.draw}


def kept(name, isa):
    path = RESULTS / f"benchmarks-{name}{isa and '-' + isa}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def texts(figure):
    """All that a figure says, but for the numbers on its axes."""
    axes = figure.axes
    found = [figure._suptitle.get_text(), figure._supxlabel.get_text()]
    found += [text for a in axes for text in (a.get_title(), a.get_title(loc="left"))]
    found += [text for a in axes for text in (a.get_xlabel(), a.get_ylabel())]
    found += [label.get_text() for a in axes for label in a.get_yticklabels()]
    return "\n".join(found)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved meanwhile."""
    pytest.importorskip("matplotlib")
    figures, save = [], plots.save

    def keep(figure, *arguments, **options):
        save(figure, *arguments, **options)
        figures.append(figure)

    monkeypatch.setattr(plots, "save", keep)
    return figures


@pytest.mark.parametrize(("name", "isa"), KEPT)
def test_a_plot_has_a_title_the_machine_and_units(drawn, tmp_path, name, isa):
    figures = kept(name, isa)
    assert DRAWS[name](figures, tmp_path / "a.png") is None
    (figure,) = drawn
    said = texts(figure)
    assert figure._suptitle.get_text()
    assert "AMD EPYC, 2 cores, AVX" in figure._supxlabel.get_text()
    units = {
        "translate": ["target tokens a second"],
        "startup": ["seconds (", "MB (", "resident memory, MB"],
        "corpus": ["resident memory, MB", "lines written, thousands", "time, minutes"],
    }
    assert all(unit in said for unit in units[name])
    # Names of the code are none for people.
    assert not [word for word in ("int8-fast", "beam4", "b32", "27tok", "tiny") if word in said]


@pytest.mark.parametrize(("name", "isa"), [one for one in KEPT if one[0] != "corpus"])
def test_every_bar_has_its_error_bar(drawn, tmp_path, name, isa):
    DRAWS[name](kept(name, isa), tmp_path / "a.png")
    panels = [axes for axes in drawn[0].axes if axes.patches]
    assert panels
    for axes in panels:
        (lines,) = {len(container.errorbar.lines[2][0].get_segments())
                    for container in axes.containers if hasattr(container, "errorbar")}  # fmt: skip
        assert lines == 1
        assert len([c for c in axes.containers if hasattr(c, "errorbar")]) == len(axes.patches)


def test_the_same_figures_give_the_same_picture(tmp_path):
    pytest.importorskip("matplotlib")
    for place in ("a.png", "b.png"):
        corpus.draw(kept("corpus", ""), tmp_path / place)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_error_bar_is_the_range_of_a_side_where_that_is_known():
    row = {"name": "a vs b", "ours": 100.0, "peer": 50.0, "spread": 0.2}
    assert plots.error_bars([{**row, "ranges": {"ours": [90, 130], "peer": [45, 51]}}], "a") == (
        10,
        30,
    )
    # Else what is sure: its turns are no farther apart than the least spread that it is part of.
    assert plots.error_bars([row, {**row, "name": "a vs c", "spread": 0.1}], "a") == (5, 5)
    assert plots.error_bars([row], "b") == (5, 5)
    assert plots.error_bars([{**row, "spread": None}], "a") is None
    assert plots.error_bars([{**row, "peer": None}], "b") is None
    assert plots.error_bars([row], "c") is None


def test_every_engine_has_a_name_for_people():
    for name in ENGINES:
        assert plots.engine_name(name) != name
    assert plots.engine_name("ctranslate2-int8") == "CTranslate2, INT8"
    assert translation.case_name("base beam1 b1 s1 27tok") == (
        "Transformer base, greedy, one sentence at a time on 1 core, sources of 27 tokens"
    )
    assert translation.case_name("tiny beam4 b32 s2 tatoeba") == (
        "built-in model, beam 4, batches of 32 on 2 cores, real sentences"
    )


def test_documents_are_written_anew_without_measuring(tmp_path, capsys, monkeypatch):
    for name, one in BENCHMARKS.items():
        assert bool(one.report) == ("docs" in one.options), name
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copytree(RESULTS, tmp_path / "benchmarks" / "results")
    monkeypatch.setattr(type(BENCHMARKS["translate"]), "load", lambda self: pytest.fail("measured"))
    words = ["bench", "translate", "--isa", "avx2", "--docs", str(docs), "--redraw"]
    assert main(words) == 0
    assert "written anew" in capsys.readouterr().out
    page = (docs / "benchmarks-translate-avx2.md").read_text(encoding="utf-8")
    assert page == (ROOT / "docs" / "benchmarks-translate-avx2.md").read_text(encoding="utf-8")
    assert (docs / "benchmarks-translate-avx2.png").is_file()
    again = (tmp_path / "benchmarks" / "results" / "benchmarks-translate-avx2.json").read_bytes()
    assert again == (RESULTS / "benchmarks-translate-avx2.json").read_bytes()


def test_what_is_drawn_anew_tells_the_commit_that_it_was_measured_at(tmp_path, monkeypatch):
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copytree(RESULTS, tmp_path / "benchmarks" / "results")
    monkeypatch.setattr(benchmarks, "commit_of_figures", lambda folder, name: "then")
    monkeypatch.setattr(documents, "commit_of", lambda folder: "now")
    figures = BENCHMARKS["corpus"].redraw(str(docs))
    path = tmp_path / "benchmarks" / "results" / "benchmarks-corpus.json"
    assert figures["commit"] == json.loads(path.read_text(encoding="utf-8"))["commit"] == "then"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["translate", "--redraw"], "give --docs DIR"),
        (["translate", "--redraw", "--docs", "{}", "--full"], "--full is for what does"),
        (["keras", "--redraw", "--docs", "{}"], "There are no figures"),
        (["gemm", "--redraw"], "give --docs DIR"),
    ],
)
def test_what_cannot_be_written_anew_is_told(tmp_path, capsys, words, message):
    assert main(["bench", *(word.format(tmp_path) for word in words)]) == 2
    assert message in capsys.readouterr().err
