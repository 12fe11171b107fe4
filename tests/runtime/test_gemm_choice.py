"""The back end of each shape: measured once a machine, and of no effect on any bit."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_int8nmt import native
from keras_int8nmt.runtime import gemm_choice
from keras_int8nmt.runtime.gemm_cache import FILE, Measured
from keras_int8nmt.runtime.gemm_table import format_gemm, gemm_figures

# What the library was asked, and what weights are packed for in the end.
PROGRAM = """
import json, sys
from keras_int8nmt import native
from keras_int8nmt.runtime.gemm_choice import choose_gemm, measured_gemm, recall_gemm

measured, asked = native.measure_gemm, []
def measure(k, n, seconds):
    asked.append([k, n])
    return measured(k, n, seconds)
native.measure_gemm = measure
arguments = [[tuple(shape) for shape in shapes] for shapes in json.loads(sys.argv[2])]
getattr(sys.modules[choose_gemm.__module__], sys.argv[1])(*arguments)
chosen = {f"{k}x{n}": native.chosen_gemm(k, n) for k, n in json.loads(sys.argv[3])}
maps = open("/proc/self/maps").read()
print(json.dumps({"asked": asked, "chosen": chosen, "onednn": "libdnnl" in maps,
                  "known": len(measured_gemm()), "active": native.info()["gemm"]}))
"""
SHAPES = [[96, 64], [64, 96]]


@pytest.fixture(autouse=True)
def _needs_library():
    if native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")


def run(folder, function="choose_gemm", arguments=(SHAPES,), shapes=SHAPES, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, function, json.dumps(arguments), json.dumps(shapes)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KERAS_INT8NMT_CACHE": str(folder),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def needs_two_candidates():
    """The names of ours and of another."""
    found = native.measure_gemm(64, 64, 0.0)["seconds"]
    if len(found) < 2:
        pytest.skip("there is one candidate alone")
    return list(found)[:2]


def test_the_first_process_measures_and_the_next_ones_recall(tmp_path):
    ours, _ = needs_two_candidates()
    first = run(tmp_path)
    assert first["asked"] == [[96, 64], [64, 96]]
    assert first["known"] == 2
    file = json.loads((tmp_path / FILE).read_text())
    (machine,) = file["machines"].values()
    fastest = {shape: entry["fastest"] for shape, entry in machine["shapes"].items()}
    assert first["chosen"] == fastest
    # Ours, so that the next process need not load a library for it.
    for entry in machine["shapes"].values():
        entry["fastest"] = ours
    (tmp_path / FILE).write_text(json.dumps(file))
    for how in ({}, {"function": "recall_gemm", "arguments": ()}):
        after = run(tmp_path, **how)
        assert (after["asked"], after["onednn"]) == ([], False)
        assert set(after["chosen"].values()) == {ours}


def test_what_is_recalled_is_packed_for(tmp_path):
    _, other = needs_two_candidates()
    run(tmp_path)
    file = json.loads((tmp_path / FILE).read_text())
    (machine,) = file["machines"].values()
    machine["shapes"]["96x64"]["fastest"] = other
    machine["shapes"]["64x96"].update(fastest="bogus", seconds={"bogus": [1.0] * 4})
    (tmp_path / FILE).write_text(json.dumps(file))
    for how in ({}, {"function": "recall_gemm", "arguments": ()}):
        found = run(tmp_path, **how)
        # A name that is no candidate here does no harm.
        assert found["chosen"] == {"96x64": other, "64x96": found["active"]}
        assert found["asked"] == []


def test_who_asks_for_a_back_end_has_nothing_measured_nor_loaded_nor_written(tmp_path):
    for name in ("reference", native.info()["gemm"]):
        found = run(tmp_path, KERAS_INT8NMT_GEMM=name)
        assert (found["asked"], found["known"]) == ([], 0)
        assert set(found["chosen"].values()) == {name}
        assert found["onednn"] == (name == "onednn")
    assert list(tmp_path.iterdir()) == []


def test_auto_is_the_word_for_the_choice(tmp_path):
    needs_two_candidates()
    assert run(tmp_path, KERAS_INT8NMT_GEMM="auto")["asked"] == SHAPES


def test_without_a_cache_each_process_measures(tmp_path, monkeypatch):
    needs_two_candidates()
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("0")["asked"] == SHAPES
    assert list(tmp_path.iterdir()) == []


def test_shapes_that_cannot_be_are_left_to_the_packing(tmp_path):
    needs_two_candidates()
    found = run(tmp_path, arguments=([[0, 5], [70_000, 5], [96, 64]],))
    assert found["known"] == 1


def test_a_process_measures_a_bounded_number_of_shapes(tmp_path):
    needs_two_candidates()
    shapes = [[k, 3] for k in range(1, 101)]
    found = run(tmp_path, arguments=(shapes,), shapes=shapes[-1:])
    assert len(found["asked"]) == gemm_choice._MOST_MEASURED
    assert found["chosen"] == {"100x3": found["active"]}


def test_an_answer_is_the_same_whichever_back_end_a_shape_has():
    """One product of each candidate in one process: the blobs say who multiplies."""
    from keras_int8nmt import ops

    ours, other = needs_two_candidates()
    rng = np.random.default_rng(0)
    wide = rng.integers(-127, 128, (192, 1601), np.int8)
    scales = rng.uniform(1e-4, 1e-3, 1601).astype(np.float32)
    bias = rng.normal(size=1601).astype(np.float32)
    x = rng.integers(-127, 128, (33, 192), np.int8)
    found = {}
    # Shapes that differ by a column, so that each is settled for itself.
    for columns, name in ((1601, ours), (1600, other)):
        assert native.set_gemm(192, columns, name)
        packed = ops.pack_weights(wide[:, :columns])
        y = ops.int8_matmul(x, packed, scales[:columns], bias[:columns], activation="relu")
        found[native.chosen_gemm(192, columns)] = np.asarray(y)[:, :1600]
    assert set(found) == {ours, other}
    np.testing.assert_array_equal(found[ours], found[other])


FORKS = """
import os, signal, threading
from keras_int8nmt import native

over = threading.Event()
def ask():
    while not over.is_set():
        native.chosen_gemm(7, 7)
threads = [threading.Thread(target=ask) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(60):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        native.chosen_gemm(7, 7)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
over.set()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_child_is_answered_while_others_ask():
    subprocess.run(
        [sys.executable, "-W", "ignore:.*multi-threaded", "-c", FORKS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )


def test_the_functions_refuse_what_is_no_shape():
    for shape in ((0, 5), (5, 0), (70_000, 5)):
        with pytest.raises(ValueError, match="expected 1 to 66000 and 1 to 2147483648"):
            native.measure_gemm(*shape, 0.0)
        with pytest.raises(ValueError, match="expected 1 to 66000"):
            native.chosen_gemm(*shape)
        assert not native.set_gemm(*shape, native.info()["gemm"])
    with pytest.raises(ValueError, match="seconds"):
        native.measure_gemm(5, 5, -1.0)


def test_the_table_has_a_star_at_what_is_taken():
    measured = {
        (512, 64): Measured("own", 32, {"own": (1e-6, 0.25), "other": (2e-6, 0.0)}),
        (64, 64): Measured("own", 0, {"own": (0.0, 0.0)}),
    }
    figures = gemm_figures(measured, [1, 8])
    assert [each["gops"] for each in figures] == [
        {1: pytest.approx(32.768), 8: pytest.approx(2e-9 * 8 * 512 * 32 / 0.25)},
        {1: pytest.approx(16.384), 8: None},
    ]
    assert [line.split() for line in format_gemm(figures).splitlines()] == [
        ["weights", "back", "end", "1", "row", "8", "rows"],
        ["512x64", "own", "33", "0", "*"],
        ["512x64", "other", "16", "-"],
    ]
    assert format_gemm([]) == ""
