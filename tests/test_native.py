"""Finding and loading the native library; what is read once is tested in another process."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_int8nmt import native


@pytest.fixture
def fresh(monkeypatch):
    """The module as if the library had not been looked for yet."""
    monkeypatch.setattr(native, "_loaded", None)
    monkeypatch.delenv("KERAS_INT8NMT_NATIVE", raising=False)
    return monkeypatch


def last_line(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", f"from keras_int8nmt import native\n{code}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return (result.stdout or result.stderr).strip().splitlines()[-1]


def needs_library():
    if native.library() is None:
        pytest.skip(f"no native library: {native.reason()}")


def test_switched_off(fresh):
    fresh.setenv("KERAS_INT8NMT_NATIVE", "0")
    assert native.library() is None
    assert native.reason() == "KERAS_INT8NMT_NATIVE=0"
    assert native.info() == {"native": False, "reason": "KERAS_INT8NMT_NATIVE=0"}
    native.set_num_threads(2)


def test_unknown_switch(fresh):
    fresh.setenv("KERAS_INT8NMT_NATIVE", "off")
    with pytest.raises(ValueError, match="KERAS_INT8NMT_NATIVE is 'off'; choose 0"):
        native.library()


def test_not_built(fresh, tmp_path):
    fresh.setattr(native, "_LIBRARY", tmp_path / "libkeras_int8nmt.so")
    assert native.library() is None
    assert str(tmp_path) in native.reason()


def test_does_not_load(fresh, tmp_path):
    broken = tmp_path / "libkeras_int8nmt.so"
    broken.write_bytes(b"not a library")
    fresh.setattr(native, "_LIBRARY", broken)
    with pytest.raises(RuntimeError, match=r"libkeras_int8nmt.so does not load in TensorFlow \d"):
        native.library()


def test_info_and_threads():
    needs_library()
    assert native.reason() is None
    info = native.info()
    assert info["native"]
    assert info["isa"]
    assert info["gemm"]
    try:
        native.set_num_threads(3)
        assert native.info()["threads"] == 3
    finally:
        native.set_num_threads(info["threads"])
    with pytest.raises(ValueError, match="at least 1; received 0"):
        native.set_num_threads(0)


def test_first_use_from_many_threads(fresh):
    needs_library()
    fresh.setattr(native, "_loaded", None)
    with ThreadPoolExecutor(8) as pool:
        libraries = list(pool.map(lambda _: native.library(), range(16)))
    assert all(library is libraries[0] for library in libraries)


@pytest.mark.parametrize(
    ("name", "choices"), [("GEMM", ["onednn", "mkl", "reference", "vnni"]), ("ISA", ["generic"])]
)
def test_unknown_choice_names_the_choices(name, choices):
    needs_library()
    line = last_line("native.library()", **{f"KERAS_INT8NMT_{name}": "fastest"})
    assert line.startswith("RuntimeError")
    assert f"KERAS_INT8NMT_{name}" in line
    assert "fastest" in line
    assert all(choice in line for choice in choices)


def test_choices_are_obeyed():
    needs_library()
    environment = {"KERAS_INT8NMT_GEMM": "reference", "KERAS_INT8NMT_ISA": "generic"}
    line = last_line("i = native.info(); print(i['gemm'], i['isa'])", **environment)
    assert line == "reference generic"
