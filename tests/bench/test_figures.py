"""Arithmetic of the figures, rows, and the documents made of them."""

from __future__ import annotations

import importlib.util
import json

import pytest

from keras_int8nmt.bench.rows import format_rows
from keras_int8nmt.bench.translation import figures, plot, report
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.models import model_settings
from keras_int8nmt.bench.translation.options import checked_options
from keras_int8nmt.bench.translation.quality import compare_quality
from keras_int8nmt.bench.translation.rounds import Result
from keras_int8nmt.bench.translation.run import compared

BASE = model_settings("base")
CASE = Case("base", 4, 32, 2, 27)
KEYS = {"name", "case", "ours", "peer", "unit", "ratio", "spread"}


def results():
    return {
        "int8-fast": Result([1.0, 2.0, 3.0], 200, "ours"),
        "ctranslate2-int8": Result([2.0, 4.0, 5.0], 200, "theirs"),
        "openvino-int8": Result(reason="not installed: openvino"),
    }


def test_operations_of_transformer_base():
    # By hand: 6 layers of 6 * 512^2 + 2 * 512 * 2048, and 512 * 32000.
    assert figures.decoder_weights(BASE) == 6 * 3_670_016 + 16_384_000
    # 6 layers of 4 * 512^2 + 2 * 512 * 2048, and 6 times keys and values.
    assert figures.encoder_weights(BASE) == 6 * 3_145_728 + 6 * 524_288
    assert figures.operations_per_token(BASE, CASE) == pytest.approx(0.350e9, rel=0.01)
    greedy = Case("base", 1, 32, 2, 27)
    assert figures.operations_per_token(BASE, greedy) == pytest.approx(0.119e9, rel=0.01)


def test_shares_of_what_the_machine_can_do():
    operations = figures.operations_per_token(BASE, CASE)
    speed = 2 * 460e9 / operations  # all that two cores of 460 GOP/s can do
    assert figures.percent_of_peak(speed, BASE, CASE, 460.0) == pytest.approx(100.0)
    single = Case("base", 1, 1, 1, 27)
    found = figures.figures_of(single, Result([1.0], 500), BASE, 460.0, int8=True)
    assert found["gb_per_second"] == pytest.approx(500 * 38.4e6 / 1e9, rel=0.01)
    float32 = figures.figures_of(single, Result([1.0], 500), BASE, 460.0, int8=False)
    assert float32 == {"gb_per_second": pytest.approx(4 * found["gb_per_second"])}


@pytest.mark.parametrize("peak", [None, 0.0])
def test_where_there_is_no_peak_there_is_a_dash(peak):
    found = figures.figures_of(CASE, Result([1.0], 500), BASE, peak, int8=True)
    assert found == {"percent_of_int8_peak": None}
    rows = compared(CASE, results(), BASE, peak)
    figures_of_run = {"machine": {}, "rows": rows, "formula": figures.FORMULA}
    assert "ours - % of INT8 peak" in report.markdown(figures_of_run)
    json.dumps(figures_of_run, allow_nan=False)


def test_rows_compare_ours_with_each_peer():
    rows = compared(CASE, results(), BASE, 460.0)
    first, second = rows
    assert first["name"] == "int8-fast vs ctranslate2-int8"
    assert first["case"] == "base beam4 b32 s2 27tok"
    assert (first["ours"], first["peer"], first["ratio"], first["spread"]) == (100, 50, 2, 1.0)
    assert first["settings"] == {"ours": "ours", "peer": "theirs"}
    assert first["turns"] == {"ours": 3, "peer": 3}
    assert all(row.keys() >= KEYS for row in rows)
    assert (second["ours"], second["peer"], second["ratio"]) == (100, None, None)
    assert second["reason"] == "openvino-int8: not installed: openvino"


def test_the_layer_path_stands_in_for_a_fast_path_that_there_is_not():
    found = results()
    found["int8-layers"] = found.pop("int8-fast")
    found["int8-fast"] = Result(reason="not available")
    rows = compared(CASE, found, BASE, None)
    assert [row["name"] for row in rows] == [
        "int8-layers vs ctranslate2-int8",
        "int8-layers vs openvino-int8",
        "int8-layers vs int8-fast",
    ]


def test_rows_without_figures_are_printed_with_their_reasons():
    text = format_rows(compared(CASE, results(), BASE, None))
    assert "2.00x" in text
    assert text.splitlines()[-1].endswith("not installed: openvino")


@pytest.fixture
def content():
    found = results()
    quality = {"bleu": 31.0, "chrf": 50.0, "sentences": 3, "identical_lines": 2, "p_value": 0.4}
    found["ctranslate2-int8"].extra.update(quality)
    rows = compared(CASE, found, BASE, 460.0)
    tried = {"ctranslate2-int8, x": ["a: 1 s", "b: 2 s"]}
    return {"machine": {"cpu": "a|b"}, "rows": rows, "tried": tried, "formula": "f"}


def test_documents_are_written(content, tmp_path):
    report.write_docs(tmp_path / "docs", content)
    folder = tmp_path / "docs"
    assert json.loads((folder / "benchmarks-translate.json").read_text())["rows"]
    text = (folder / "benchmarks-translate.md").read_text(encoding="utf-8")
    assert "| base beam4 b32 s2 27tok | int8-fast | ctranslate2-int8 | 100 tokens/s |" in text
    assert "2 of 3" in text
    assert "a: 1 s; b: 2 s" in text
    assert "stops a sentence when as many hypotheses" in text
    drawn = (folder / "benchmarks-translate.png").exists()
    assert drawn == (importlib.util.find_spec("matplotlib") is not None)


def test_without_matplotlib_there_is_a_reason_instead_of_a_plot(content, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reason = plot.draw(content, tmp_path / "a.png")
    assert "matplotlib is not installed" in reason
    assert "benchmarks-translate.png" not in report.markdown(content)


def test_quality_is_compared_with_ours():
    references = ["Der Hund schläft im Garten.", "Wir gehen heute nach Hause.", "Das ist gut so."]
    worse = [references[0], "Wir bleiben hier.", "Was?"]
    found = compare_quality(
        "ours", {"ours": references, "same": references, "w": worse}, references
    )
    assert found["ours"]["bleu"] == pytest.approx(100.0)
    assert "identical_lines" not in found["ours"]
    assert (found["same"]["identical_lines"], found["same"]["p_value"]) == (3, 1.0)
    assert found["w"]["identical_lines"] == 1
    assert 0.0 < found["w"]["p_value"] <= 1.0
    assert found["w"]["bleu"] < 100.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cases": ["nonsense"]}, "is not a case"),
        ({"cases": ["base beam1 b1 s4096 8tok"]}, "more streams than there are cores"),
        ({"cases": ["huge beam1 b1 s1 8tok"]}, "no model 'huge'"),
        ({"cases": ["base beam1 b1 s1 tatoeba"]}, "only the model tiny"),
        ({"engines": ["x"]}, "no engine 'x'"),
    ],
)
def test_options_are_checked_before_anything_runs(options, message):
    with pytest.raises(ValueError, match=message):
        checked_options(options)
