"""The parts of `bench corpus` at toy size; no test looks at a time."""

from __future__ import annotations

import itertools
import json

import pytest

from keras_int8nmt import MarianTokenizer, cli, save_folder
from keras_int8nmt.bench.base_model import make_models
from keras_int8nmt.bench.benchmarks import BENCHMARKS
from keras_int8nmt.bench.corpus import run
from keras_int8nmt.bench.corpus.end_to_end import end_to_end_row
from keras_int8nmt.bench.corpus.memory import Sample, memory_rows, thinned
from keras_int8nmt.bench.corpus.report import markdown, write_docs
from keras_int8nmt.bench.corpus.sorting import order_rows
from keras_int8nmt.bench.corpus.streams import stream_rows
from keras_int8nmt.bench.corpus.text import read_sentences, swapped, varied
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.models import model_settings
from keras_int8nmt.bench.translation.sentences import VARIABLE
from keras_int8nmt.bench.translation.session import Session
from keras_int8nmt.storage.builtin import FOLDER, read_pairs
from keras_int8nmt.translation.translator import Translator

SENTENCES = [source for source, _ in read_pairs()[1]]


@pytest.fixture(scope="module")
def model():
    """Small, with the vocabulary of the built-in tokenizer."""
    sizes = dict.fromkeys(("source_vocabulary_size", "target_vocabulary_size"), 6001)
    special = {"pad_id": 6000, "eos_id": 0, "start_id": 6000}
    return make_models({**model_settings("nano"), **sizes, **special})[0]


def has_fast_path(model):
    return Translator(model, None).path == "fast"


def test_lines_vary_and_are_the_same_in_every_run():
    lines = list(varied(SENTENCES, 3 * len(SENTENCES)))
    assert lines == list(varied(SENTENCES, 3 * len(SENTENCES)))
    assert lines[: len(SENTENCES)] == SENTENCES
    assert len(list(varied(SENTENCES[:2], 7))) == 7
    text = "Tom saw 19 Toms in Vienna, Mary."
    assert swapped(text, 0) == text
    assert swapped(text, 1) == "Mary saw 26 Toms in Boston, John."
    assert len({swapped(text, turn) for turn in range(12)}) == 12


def test_without_shared_data_the_packages_own_sentences_are_varied(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    sentences, origin = read_sentences()
    assert len(sentences) > 100
    assert VARIABLE in origin


def test_orders_tell_padding_and_time(model):
    # Full batches: of a last one that is small, the longest sentence makes less padding.
    ids = [MarianTokenizer(FOLDER).encode(text) for text in SENTENCES[:64]]
    ids = [[*sentence[:-1][:30], sentence[-1]] for sentence in ids]
    paths = ("layers", "fast") if has_fast_path(model) else ("layers",)
    for path in paths:
        rows = order_rows(model, SENTENCES[:64], ids, path, "nano", turns=1)
        parts, peers = ("whole translation", "encoder"), ("words", "none")
        assert [row["name"] for row in rows] == [
            f"tokens vs {peer}, {part}" for part, peer in itertools.product(parts, peers)
        ]
        assert [row["paper"] for row in rows] == 2 * [1.28, None]
        if path == "fast":
            assert {row["padded"] for row in rows} == {1.0}
        else:
            assert all(row["padded"] >= 1 for row in rows)
            assert rows[1]["padded"] > rows[0]["padded"]
        assert all("padded tokens" in row["note"] for row in rows)


def test_a_file_is_held_against_the_decoder(model):
    row = end_to_end_row(model, MarianTokenizer(FOLDER), SENTENCES[:30], 1, "nano", turns=1)
    assert row["sentences"] == 30
    assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])


@pytest.mark.slow
def test_streams_are_held_against_one_and_processes_against_one(model):
    if not has_fast_path(model):
        pytest.skip("no native library")
    with Session([0, 0]) as session:
        rows = stream_rows(session, Case("nano", 2, 4, 2, 5), 12, turns=1)
    assert [row["name"] for row in rows] == [
        "streams 2x1 vs 1x1",
        "streams 2x1 vs 1x2",
        "2 processes vs 1",
    ]
    assert sum(row.get("best_single", False) for row in rows) == 1
    for row in rows:
        assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])


@pytest.mark.slow
def test_memory_is_watched_until_the_end(model, tmp_path):
    save_folder(model, tmp_path / "model", MarianTokenizer(FOLDER))
    told = []
    rows = memory_rows(tmp_path / "model", varied(SENTENCES, 30_000), 30_000, "nano", told.append)
    (row,) = rows
    assert row["lines"] == 30_000
    # Megabytes, of a process that has Python and a model.
    assert row["ours"] > 10
    seconds, rss, lines = zip(*row["samples"], strict=True)
    assert list(seconds) == sorted(seconds)
    assert list(lines) == sorted(lines)
    assert min(rss) > 0
    assert told


def test_samples_are_thinned_to_the_last():
    samples = [Sample(i, 1.0, i) for i in range(1001)]
    few = thinned(samples, 100)
    assert len(few) <= 100
    assert few[-1] == samples[-1]
    assert thinned(samples[:5], 100) == samples[:5]


ROW = {"case": "c", "ours": 1.0, "peer": 1.5, "unit": "s", "ratio": 1.5, "spread": 0.1}
ROWS = [
    {**ROW, "name": "tokens vs words, encoder", "padded": 1.25, "paper": 1.28},
    {**ROW, "name": "streams 2x1 vs 1x1"},
    {
        **ROW,
        "name": "memory, late vs early",
        "spread": None,
        "samples": [[1.0, 700.0, 0], [2.0, 710.0, 5000]],
        "lines": 9000,
        "input_mb": 0.4,
        "seconds": 3.0,
    },
]


def test_documents_have_tables_and_a_plot(tmp_path):
    figures = {"machine": {"cores": 2}, "rows": ROWS}
    write_docs(tmp_path / "docs", figures)
    content = (tmp_path / "docs" / "corpus.md").read_text("utf-8")
    assert "| tokens vs words, encoder | c | 1 | 1.5 | s | 1.25 | 1.50 | 1.28 | 10 % |" in content
    assert "| streams 2x1 vs 1x1 | c | 1 | 1.5 | s | 1.50 | 10 % |" in content
    assert "9000 lines" in content
    assert json.loads((tmp_path / "docs" / "benchmarks-corpus.json").read_text("utf-8")) == figures
    plot = tmp_path / "docs" / "benchmarks-corpus.png"
    assert plot.exists() == ("![Memory over time]" in content)
    assert "![" not in markdown(figures, None)


def test_parts_measured_apart_share_the_documents_of_one_machine(tmp_path, monkeypatch):
    # The documents are asked for, not the measurements.
    by_part = dict(zip(("sorting", "streams", "memory"), ([row] for row in ROWS), strict=True))
    parts = {name: lambda session, lines, of=rows: of for name, rows in by_part.items()}
    monkeypatch.setattr(run, "PARTS", parts)

    def written():
        text = (tmp_path / "benchmarks-corpus.json").read_text(encoding="utf-8")
        return [row["part"] for row in json.loads(text)["rows"]]

    run.run_corpus(parts=["memory"], docs=str(tmp_path))
    assert written() == ["memory"]
    figures = run.run_corpus(parts=["streams", "sorting"], docs=str(tmp_path))
    assert [row["part"] for row in figures["rows"]] == ["streams", "sorting"]
    assert written() == ["sorting", "streams", "memory"]
    monkeypatch.setattr(run, "machine", lambda: {"cpu": "another"})
    run.run_corpus(parts=["sorting"], docs=str(tmp_path))
    assert written() == ["sorting"]


def test_options_of_corpus_are_refused_elsewhere(capsys):
    writing = [name for name, each in BENCHMARKS.items() if "docs" in each.options]
    assert "corpus" in writing
    for options, named in (
        (["--part", "files"], "corpus has the option --part"),
        (["--lines", "5"], "corpus has the option --lines"),
        (["--docs", "x"], f"{' and '.join(writing)} has the option --docs"),
    ):
        assert cli.main(["bench", "gemm", *options]) == 2
        assert named in capsys.readouterr().err
