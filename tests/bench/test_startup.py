"""`bench startup`: fresh processes that translate a sentence, ours beside CTranslate2."""

from __future__ import annotations

import sys

import pytest

from keras_int8nmt.bench import startup
from keras_int8nmt.bench.errors import BenchError

pytest.importorskip("ctranslate2", reason="CTranslate2 is not installed")


@pytest.mark.slow
def test_every_road_gives_seconds_and_memory_beside_the_peer():
    rows = startup.run_startup(turns=1, models=("nano",))["rows"]
    assert {row["name"] for row in rows} == {
        "load_translator vs CTranslate2",
        "load_folder (Keras) vs CTranslate2",
    }
    assert {(row["case"], row["unit"]) for row in rows} == {
        ("nano, one sentence", "s"),
        ("nano, peak memory", "MB"),
    }
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rows)


def test_a_process_is_measured_by_itself():
    program = "import time; data = bytearray(64 << 20); time.sleep(0.1)" + startup._PEAK
    run = startup._checked([sys.executable, "-c", program])
    assert run.seconds >= 0.1
    assert 64 <= run.megabytes < 200


def test_a_process_that_fails_is_an_error_with_its_last_words():
    with pytest.raises(BenchError, match="ValueError: no such thing"):
        startup._checked([sys.executable, "-c", "raise ValueError('no such thing')"])
