"""What the benchmarks compute from times, and that one runs from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from keras_int8nmt import ops
from keras_int8nmt.bench.timing import Measurement, interleaved, looped, row, timed_row

KEYS = {"name", "case", "ours", "peer", "unit", "ratio", "spread"}


def test_ratio_is_a_speed_up_in_either_unit():
    assert row("a", "b", 2.0, 6.0, "us")["ratio"] == 3.0
    assert row("a", "b", 6.0, 2.0, "tokens/s", smaller_is_better=False)["ratio"] == 3.0


def test_a_row_of_times_has_medians_and_the_larger_spread():
    ours, peer = Measurement(2.0, 1.0, 4.0), Measurement(4.0, 3.0, 5.0)
    found = timed_row("a", "b", ours.per(2), peer.per(2))
    assert found.keys() == KEYS
    assert (found["ours"], found["peer"]) == (1e6, 2e6)
    assert found["ratio"] == 2.0
    assert found["spread"] == pytest.approx(1.5)


def test_calls_take_turns():
    seen = []
    times = interleaved({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, repeat=3)
    assert seen == ["a", "b"] * 4  # once to warm up
    assert all(t.fastest <= t.median <= t.slowest for t in times.values())


def test_a_looped_step_runs_on_each_input_in_each_trip():
    count = tf.Variable(0)
    inputs = [tf.constant(1), tf.constant(10)]
    looped(count.assign_add, inputs, trips=3)()
    assert int(count) == 33


@pytest.mark.slow
def test_the_gather_benchmark_writes_its_rows(tmp_path):
    if not ops.native_available():
        pytest.skip(f"needs the native library: {ops.native_info()}")
    path = tmp_path / "rows.json"
    command = [sys.executable, "-m", "keras_int8nmt.cli", "bench", "gather", "--json", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert {"cpu", "cores", "isa", "gemm"} <= found["machine"].keys()
    assert len(found["rows"]) == 9
    assert all(r.keys() == KEYS and r["ours"] > 0 for r in found["rows"])
