"""`keras-int8nmt demo`: the built-in model, without network and without arguments."""

from __future__ import annotations

import json

import pytest

from keras_int8nmt.cli import main
from keras_int8nmt.cli.demo import format_figures, format_samples, side_by_side
from keras_int8nmt.evaluation import Evaluation
from keras_int8nmt.storage import builtin as builtin_model


def test_the_pairs_are_sentences_and_none_is_twice():
    sample, unseen = builtin_model.read_pairs()
    assert (len(sample), len(unseen)) == (200, 220)
    pairs = sample + unseen
    for side in zip(*pairs, strict=True):
        assert len(set(side)) == len(pairs)
        assert all(text == text.strip() and text[-1] in ".?!" for text in side)


def test_the_notice_keeps_the_attribution():
    notice = (builtin_model.FOLDER / "NOTICE").read_text(encoding="utf-8")
    for words in ("tatoeba.org", "www.manythings.org/anki", "CC BY 2.0 FR"):
        assert words in notice


def test_equal_translations_are_shown_once():
    samples = side_by_side(["One.", "Two."], ["Eins.", "Zwei."], ["Eins.", "Zwo."])
    assert format_samples(samples).split("\n") == [
        "One.",
        "  float = INT8  Eins.",
        "Two.",
        "  float         Zwei.",
        "  INT8          Zwo.",
    ]


def test_the_table_compares():
    def figures(bleu, speed, precision, gemm):
        return Evaluation(bleu, 50.0, "", 1, 1, 1.0, speed, 1.0, precision, gemm)

    pair = {
        "float": figures(30.0, 100.0, "float32", "tensorflow"),
        "int8": figures(29.9, 250.0, "int8", "onednn"),
    }
    lines = format_figures(pair, {"float": 28.4, "int8": 7.2}).split("\n")
    assert lines[0].split() == ["float", "(tensorflow)", "INT8", "(onednn)", "INT8", "to", "float"]
    assert lines[1].split() == ["BLEU", "30.00", "29.90", "-0.10"]
    assert lines[3].split() == ["tokens/s", "100", "250", "2.50x"]
    assert lines[4].split() == ["model", "file,", "MB", "28.4", "7.2", "0.25x"]


@pytest.mark.slow
def test_the_demo_translates_as_well_in_int8_as_in_float(tmp_path, capfd):
    json_file = tmp_path / "demo.json"
    assert main(["demo", "Where is the station?", "--json", str(json_file)]) == 0
    figures = json.loads(json_file.read_text(encoding="utf-8"))
    assert figures["float"]["bleu"] > 25
    assert figures["int8"]["bleu"] > figures["float"]["bleu"] - 2
    assert figures["int8"]["model_mb"] < figures["float"]["model_mb"] / 2
    assert figures["int8"]["precision"] == "int8"
    assert len(figures["samples"]) == 12
    assert figures["sentences"][0]["int8"] == "Wo ist der Bahnhof?"
    out = capfd.readouterr().out
    assert "Wo ist der Bahnhof?" in out
    assert "tokens/s" in out
