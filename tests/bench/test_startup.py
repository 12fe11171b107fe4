"""`bench startup`: fresh processes that translate a sentence, ours beside CTranslate2."""

from __future__ import annotations

import sys

import pytest

from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.startup import loads, report
from keras_int8nmt.bench.startup import run as startup

pytest.importorskip("ctranslate2", reason="CTranslate2 is not installed")


@pytest.mark.slow
def test_every_road_gives_seconds_and_memory_beside_the_peer(tmp_path):
    figures = startup.run_startup(turns=1, models=("nano",), loads=5, docs=str(tmp_path))
    rows = figures["rows"]
    assert {row["name"] for row in rows} == {
        "load_translator vs CTranslate2",
        "load_folder (Keras) vs CTranslate2",
    }
    assert {(row["case"], row["unit"]) for row in rows} == {
        ("nano, one sentence", "s"),
        ("nano, peak memory", "MB"),
    }
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rows)
    assert {name: len(resident) for name, resident in figures["loads"]["nano"].items()} == {
        "ours": 5,
        "CTranslate2": 5,
    }
    grown, weights = figures["growth"]["nano"]
    assert grown > 0
    assert weights > 0
    page = (tmp_path / report.PAGE).read_text(encoding="utf-8")
    assert "5 loads and frees of the model nano in one process: ours" in page
    assert "Loading the model nano grows a process by at most" in page


def test_the_slope_is_of_the_loads_after_the_first_fifth():
    assert loads.slope_kb([0.0] * 20 + [50.0] * 80) == pytest.approx(0, abs=1e-6)
    assert loads.slope_kb([50 + 0.002 * i for i in range(100)]) == pytest.approx(2)


def test_a_process_is_measured_by_itself():
    program = "import time; data = bytearray(64 << 20); time.sleep(0.1)" + startup._PEAK
    run = startup._checked([sys.executable, "-c", program])
    assert run.seconds >= 0.1
    assert 64 <= run.megabytes < 200


def test_a_process_that_fails_is_an_error_with_its_last_words():
    with pytest.raises(BenchError, match="ValueError: no such thing"):
        startup._checked([sys.executable, "-c", "raise ValueError('no such thing')"])
