"""`bench translate` as a whole, on a model of toy size; no test looks at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keras_int8nmt import cli
from keras_int8nmt.bench.translation import run
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.rounds import Result
from keras_int8nmt.bench.translation.sentences import VARIABLE, read_news, read_tatoeba


def test_options_of_translate_are_refused_elsewhere(capsys):
    assert cli.main(["bench", "gemm", "--full"]) == 2
    assert "only the benchmark translate has the option --full" in capsys.readouterr().err
    assert cli.main(["bench", "translate", "--case", "nonsense"]) == 2
    assert "is not a case" in capsys.readouterr().err


def test_without_shared_data_the_packages_own_sentences_serve(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    corpus = read_tatoeba()
    assert len(corpus.sources) == len(corpus.references) > 100
    assert "no tatoeba-ende/test" in corpus.origin
    assert read_news().sources == corpus.sources


@pytest.fixture
def measuring(tmp_path, monkeypatch):
    """Cases that are measured at once, in an empty folder; the names of those that were."""
    measured = []

    def results(session, case, specs, kept, rules):
        if not kept.get(case):
            measured.append(str(case))
            kept.add(case, {name: Result([1.0], 500) for name in specs})
        return kept.get(case)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "case_results", results)
    monkeypatch.setattr(run, "_memory_row", lambda session: next(memory))
    memory = iter([])
    return measured


def test_what_was_measured_before_something_failed_is_kept_for_the_next_run(measuring, monkeypatch):
    with pytest.raises(StopIteration):
        run.run_translate()
    assert len(set(measuring)) == len(measuring) == 3
    monkeypatch.setattr(run, "_memory_row", lambda session: {"name": "memory"})
    rows = run.run_translate()["rows"]
    assert len(measuring) == 3
    assert rows[-1] == {"name": "memory"}
    # Ended, it is measured anew.
    assert list(Path().iterdir()) == []
    run.run_translate()
    assert len(measuring) == 6


def test_without_a_peak_all_is_measured_and_told(measuring, monkeypatch):
    monkeypatch.setattr(run.native, "int8_peak", lambda: 0.0)
    found = run.run_translate(cases=[Case("base", 4, 32, 2, 27)])
    figures = found["rows"][0]["figures"]["ours"]
    assert figures["percent_of_int8_peak"] is None
    assert "int8_peak_gops" not in found


@pytest.mark.slow
def test_engines_take_turns_and_the_documents_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["bench", "translate", "--json", "a.json", "--docs", "docs", "--state", "s.jsonl"]
    for case in ("nano beam4 b2 s1 5tok", "nano beam1 b2 s1 5tok"):
        command += ["--case", case]
    for engine in ("int8-layers", "keras-quantize-int8", "openvino-int8"):
        command += ["--engine", engine]
    assert cli.main(command) == 0
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["rows"]
    assert [row["name"].split(" vs ")[1] for row in rows] == 2 * [
        "keras-quantize-int8",
        "openvino-int8",
    ]
    assert all(row["ours"] > 0 for row in rows)
    assert [row["ratio"] is None for row in rows] == 2 * [False, True]
    assert {row["turns"]["ours"] for row in rows} == {5}
    assert (tmp_path / "docs" / "benchmarks-translate.md").is_file()
    capsys.readouterr()
    assert cli.main(command) == 0
    assert "nano beam4 b2 s1 5tok: measured before" in capsys.readouterr().err
    again = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["rows"]
    assert again == rows
