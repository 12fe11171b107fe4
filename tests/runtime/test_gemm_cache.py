"""The file of measured back ends: kept, found again, and passed over where it is not ours."""

import json
import os
from pathlib import Path

import pytest

from keras_int8nmt import native
from keras_int8nmt.runtime import gemm_cache
from keras_int8nmt.runtime.gemm_cache import FILE, GemmCache, Measured, cache_folder

ONE = Measured("own", 512, {"own": (1e-6, 2e-6), "other": (2e-6, 0.0)})
TWO = Measured("other", 256, {"own": (3e-6, 4e-6), "other": (2e-6, 3e-6)})


def cache(folder, key="here"):
    return GemmCache(folder / FILE, key, "a CPU", 2)


def test_what_was_measured_is_known_to_the_next_process(tmp_path):
    cache(tmp_path / "new").add({(512, 64): ONE})
    assert cache(tmp_path / "new").known == {(512, 64): ONE}


def test_each_machine_knows_its_own_shapes(tmp_path):
    cache(tmp_path).add({(512, 64): ONE})
    cache(tmp_path, "there").add({(512, 64): TWO})
    assert cache(tmp_path).known == {(512, 64): ONE}
    assert cache(tmp_path, "there").known == {(512, 64): TWO}
    assert cache(tmp_path, "elsewhere").known == {}


def test_two_processes_keep_what_both_have_measured(tmp_path):
    one, other = cache(tmp_path), cache(tmp_path)
    one.add({(1, 2): ONE})
    other.add({(3, 4): TWO})
    assert cache(tmp_path).known == {(1, 2): ONE, (3, 4): TWO}


def test_the_oldest_make_room(tmp_path):
    for i in range(gemm_cache._MOST_MACHINES + 3):
        cache(tmp_path, f"machine {i}").add({(i + 1, 1): ONE})
    machines = json.loads((tmp_path / FILE).read_text())["machines"]
    assert list(machines) == [f"machine {i + 3}" for i in range(gemm_cache._MOST_MACHINES)]
    most = gemm_cache._MOST_SHAPES
    cache(tmp_path).add({(i + 1, 7): TWO for i in range(most + 5)})
    assert list(cache(tmp_path).known) == [(i + 6, 7) for i in range(most)]
    assert (tmp_path / FILE).stat().st_size < gemm_cache._MOST_BYTES


def entry(**changes):
    shape = {"fastest": "own", "columns": 1, "seconds": {"own": [1.0, 2.0]}, **changes}
    return {"format": 1, "machines": {"here": {"cpu": "", "shapes": {"2x3": shape}}}}


STRANGE = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "no object": b"[]",
    "another format": json.dumps({**entry(), "format": 2}).encode(),
    "machines": json.dumps({"format": 1, "machines": []}).encode(),
    "shapes": json.dumps({"format": 1, "machines": {"here": {"shapes": [1]}}}).encode(),
    "no shape": json.dumps(entry()).replace("2x3", "2x3x4").encode(),
    "a large shape": json.dumps(entry()).replace("2x3", "2x3000000000").encode(),
    "another name": json.dumps(entry(fastest="bogus")).encode(),
    "a name that is none": json.dumps(entry(fastest=["own"])).encode(),
    "columns": json.dumps(entry(columns="1")).encode(),
    "too few times": json.dumps(entry(seconds={"own": [1.0]})).encode(),
    "times of words": json.dumps(entry(seconds={"own": ["1", "2"]})).encode(),
    "times of none": json.dumps(entry(seconds={"own": [1.0, None]})).encode(),
    "infinite times": json.dumps(entry(seconds={"own": [1.0, float("inf")]})).encode(),
    "no times": json.dumps(entry(seconds={"own": [1.0, float("nan")]})).encode(),
    "times below 0": json.dumps(entry(seconds={"own": [1.0, -1.0]})).encode(),
    "more entries": json.dumps(entry(more=1)).encode(),
    "deep": b"[" * 100_000,
    "large": b" " * (gemm_cache._MOST_BYTES + 1),
}


def test_the_sound_entry_that_the_strange_ones_are_made_of_is_read(tmp_path):
    (tmp_path / FILE).write_text(json.dumps(entry()))
    assert cache(tmp_path).known == {(2, 3): Measured("own", 1, {"own": (1.0, 2.0)})}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE.keys())
def test_a_damaged_or_foreign_file_is_passed_over_and_written_anew(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    found = cache(tmp_path)
    assert found.known == {}
    found.add({(5, 6): ONE})
    assert cache(tmp_path).known == {(5, 6): ONE}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "FIFO"])
def test_what_is_no_file_is_no_cache_and_no_error(tmp_path, make):
    make(tmp_path / FILE)
    found = cache(tmp_path)
    found.add({(5, 6): ONE})
    assert found.known == {(5, 6): ONE}
    assert len(list(tmp_path.iterdir())) == 1


def test_where_nothing_can_be_written_there_is_no_file_and_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    found = cache(tmp_path / "file")
    found.add({(5, 6): ONE})
    assert found.known == {(5, 6): ONE}

    def refuse(*_, **__):
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(os, "replace", refuse)
    cache(tmp_path).add({(5, 6): ONE})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_caches_lie(monkeypatch, tmp_path):
    for name, value in (("KERAS_INT8NMT_CACHE", ""), ("XDG_CACHE_HOME", ""), ("HOME", "/home/x")):
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path("/home/x/.cache/keras-int8nmt")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home/x/.cache/keras-int8nmt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "keras-int8nmt"
    monkeypatch.setenv("KERAS_INT8NMT_CACHE", "elsewhere")
    assert cache_folder() == Path("elsewhere")
    monkeypatch.setenv("KERAS_INT8NMT_CACHE", "0")
    assert cache_folder() is None


def test_machines_differ_by_what_times_depend_on(monkeypatch, tmp_path):
    if native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")
    monkeypatch.setenv("KERAS_INT8NMT_CACHE", str(tmp_path))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    keys = {GemmCache.of_this_machine()._key}
    assert keys == {GemmCache.of_this_machine()._key}
    with monkeypatch.context() as changed:
        changed.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        keys.add(GemmCache.of_this_machine()._key)
    with monkeypatch.context() as changed:
        changed.setattr(native, "info", lambda: {"isa": "another"})
        keys.add(GemmCache.of_this_machine()._key)
    choice = native.gemm_choice()
    with monkeypatch.context() as changed:
        changed.setattr(native, "gemm_choice", lambda: {**choice, "build": "another"})
        keys.add(GemmCache.of_this_machine()._key)
    with monkeypatch.context() as changed:
        changed.setattr(gemm_cache, "_cpu", lambda: {"model name": "another"})
        keys.add(GemmCache.of_this_machine()._key)
    assert len(keys) == 5


def test_without_a_folder_nothing_is_kept(monkeypatch):
    monkeypatch.setenv("KERAS_INT8NMT_CACHE", "0")
    found = GemmCache.of_this_machine()
    found.add({(5, 6): ONE})
    assert found.known == {(5, 6): ONE}
