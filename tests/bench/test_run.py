"""`bench translate` as a whole, on a model of toy size; no test looks at a time."""

from __future__ import annotations

import json

import pytest

from keras_int8nmt import cli
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
