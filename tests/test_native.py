"""Finding and loading the native library; what is read once is tested in another process."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
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
    if native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")


def test_switched_off(fresh):
    fresh.setenv("KERAS_INT8NMT_NATIVE", "0")
    assert native.functions() is None
    assert native.library() is None
    assert native.reason() == "KERAS_INT8NMT_NATIVE=0"
    assert native.info() == {"native": False, "reason": "KERAS_INT8NMT_NATIVE=0"}
    native.set_num_threads(2)
    for wanted in (native.require, native.require_functions):
        with pytest.raises(RuntimeError, match="needs the native library: KERAS_INT8NMT_NATIVE=0"):
            wanted()


def test_unknown_switch(fresh):
    fresh.setenv("KERAS_INT8NMT_NATIVE", "off")
    with pytest.raises(ValueError, match="KERAS_INT8NMT_NATIVE is 'off'; choose 0"):
        native.functions()


def test_not_built(fresh, tmp_path):
    fresh.setattr(native, "_LIBRARY", tmp_path / "libkeras_int8nmt_core.so")
    assert native.functions() is None
    assert str(tmp_path) in native.reason()


def test_does_not_load(fresh, tmp_path):
    broken = tmp_path / "libkeras_int8nmt_core.so"
    broken.write_bytes(b"not a library")
    fresh.setattr(native, "_LIBRARY", broken)
    with pytest.raises(RuntimeError, match=r"libkeras_int8nmt_core.so does not load: "):
        native.functions()


def test_the_ops_do_not_load(monkeypatch, tmp_path):
    needs_library()
    from keras_int8nmt.ops import library

    broken = tmp_path / "libkeras_int8nmt.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(library, "_LIBRARY", broken)
    monkeypatch.setattr(library, "_loaded", None)
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


def test_every_instruction_set_with_products_of_bytes_has_a_peak():
    needs_library()
    code = "print(native.info()['isa'], native.int8_peak(0.01))"
    names = ["avx512_vnni", "avx512", "avx_vnni", "avx2", "generic"]
    lines = [last_line(code, KERAS_INT8NMT_ISA=name) for name in names]
    # The best sets come first; what this CPU lacks is refused.
    ran = [line for line in lines if not line.startswith("RuntimeError")]
    assert [line.split()[0] for line in ran] == names[len(names) - len(ran) :]
    peaks = [float(line.split()[1]) for line in ran]
    assert peaks[-1] == 0.0
    assert all(peak > 1.0 for peak in peaks[:-1])


def test_first_use_from_many_threads(fresh):
    needs_library()
    fresh.setattr(native, "_loaded", None)
    with ThreadPoolExecutor(8) as pool:
        libraries = list(pool.map(lambda _: native.library(), range(16)))
    assert all(library is libraries[0] for library in libraries)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("GEMM", ["onednn", "mkl", "reference", "vnni", "madd"]),
        ("FLOAT_GEMM", ["fma", "onednn", "loops"]),
        ("ISA", ["generic"]),
    ],
)
def test_unknown_choice_names_the_choices(name, choices):
    needs_library()
    line = last_line("native.functions()", **{f"KERAS_INT8NMT_{name}": "fastest"})
    assert line.startswith("RuntimeError")
    assert f"KERAS_INT8NMT_{name}" in line
    assert "fastest" in line
    assert all(choice in line for choice in choices)


def test_a_wrong_instruction_set_is_no_fault_of_the_back_end_that_was_asked_for():
    needs_library()
    line = last_line("native.functions()", KERAS_INT8NMT_ISA="bogus", KERAS_INT8NMT_GEMM="onednn")
    assert 'can\'t be used: KERAS_INT8NMT_ISA is "bogus"; this CPU can run: ' in line
    assert "back end" not in line


def test_choices_are_obeyed():
    needs_library()
    environment = {"KERAS_INT8NMT_GEMM": "reference", "KERAS_INT8NMT_ISA": "generic"}
    line = last_line("i = native.info(); print(i['gemm'], i['isa'])", **environment)
    assert line == "reference generic"


# ---- the core alone


REFUSING_TENSORFLOW = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import numpy as np
"""


def test_the_core_needs_no_tensorflow():
    needs_library()
    code = (
        "w = np.ones((3, 5), np.int8)\nprint(native.info()['native'], native.pack_weights(w).dtype)"
    )
    assert last_line(REFUSING_TENSORFLOW + code) == "True uint8"


def needed(path):
    """What a library asks the loader for."""
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("no readelf")
    text = subprocess.run([readelf, "-d", str(path)], capture_output=True, text=True, check=True)
    return set(re.findall(r"NEEDED.*\[(.+)\]", text.stdout))


def test_the_libraries_need_the_c_library_each_other_and_what_lies_beside_them():
    needs_library()
    system = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-x86-64.so.2"}
    beside = {path.name for path in native.FOLDER.iterdir()}
    core = needed(native.FOLDER / "libkeras_int8nmt_core.so")
    assert core <= system | (beside - {"libkeras_int8nmt.so"})
    ops = needed(native.FOLDER / "libkeras_int8nmt.so")
    assert {"libkeras_int8nmt_core.so", "libtensorflow_framework.so.2"} <= ops
    assert ops <= system | {"libkeras_int8nmt_core.so", "libtensorflow_framework.so.2"}


def test_weights_are_packed_as_the_ops_pack_them():
    needs_library()
    random = np.random.default_rng(3)
    for k, n in ((1, 1), (7, 5), (64, 130)):
        codes = random.integers(-127, 128, (k, n), np.int8)
        packed = native.pack_weights(codes)
        assert packed.ctypes.data % 64 == 0
        raw = native.require()
        np.testing.assert_array_equal(packed, raw.keras_int8nmt_pack_weights(weights=codes))
        floats = random.standard_normal((k, n), np.float32)
        expected = raw.keras_int8nmt_pack_float(weights=floats)
        np.testing.assert_array_equal(native.pack_float(floats.T.copy().T), expected)


@pytest.mark.parametrize(
    ("pack", "weights", "message"),
    [
        ("pack_weights", np.zeros((2, 3), np.float32), r"float32 of shape \[2, 3\]; expected int8"),
        ("pack_weights", np.zeros(3, np.int8), r"int8 of shape \[3\]; expected int8 \[k, n\]"),
        ("pack_weights", np.zeros((0, 3), np.int8), "of 0 rows and 3 columns; expected 1 to 66000"),
        ("pack_weights", np.zeros((66001, 1), np.int8), "66001 rows and 1 columns"),
        ("pack_weights", np.int8([[1, 2], [3, -128]]), r"-128 at \[1, 1\]; expected -127 to 127"),
        ("pack_float", np.zeros((2, 0), np.float32), "of 2 rows and 0 columns"),
        ("pack_float", np.zeros((2, 3)), "float64"),
    ],
)
def test_weights_that_cannot_be_packed_are_refused(pack, weights, message):
    needs_library()
    with pytest.raises(ValueError, match=message):
        getattr(native, pack)(weights)


# ---- two libraries that know each other


TWO_BUILDS = """
import pathlib
native.FOLDER = pathlib.Path({folder!r})
native._LIBRARY = native.FOLDER / "libkeras_int8nmt_core.so"
assert native.info()["native"]
"""


@pytest.fixture
def of_two_builds(tmp_path):
    """A folder of libraries in which the ops are of another build than the core."""
    needs_library()
    folder = tmp_path / "_native"
    shutil.copytree(native.FOLDER, folder)
    ops = folder / "libkeras_int8nmt.so"
    content = ops.read_bytes()
    ids = set(re.findall(rb"build [0-9a-f]{16}\0", content))
    assert len(ids) == 1
    ops.write_bytes(content.replace(ids.pop(), b"build 0123456789abcdef\0"))
    return folder


def test_libraries_of_different_builds_refuse_each_other(of_two_builds):
    line = last_line(TWO_BUILDS.format(folder=str(of_two_builds)) + "native.require()")
    assert re.fullmatch(
        r"RuntimeError: The native library .*libkeras_int8nmt.so can't be used: the TensorFlow ops "
        r"\(build 0123456789abcdef\) and the core library \(build [0-9a-f]{16}\) are of different "
        r"builds; install both together\.",
        line,
    )


def test_ops_loaded_by_their_name_alone_say_so_when_they_run(of_two_builds):
    """As programs load them that serve a SavedModel without this package."""
    code = (
        "import tensorflow as tf\n"
        f"ops = tf.load_op_library({str(of_two_builds / 'libkeras_int8nmt.so')!r})\n"
        "try:\n"
        "    ops.keras_int8nmt_pack_weights(weights=tf.ones((2, 2), tf.int8))\n"
        "except tf.errors.OpError as error:\n"
        "    print(' '.join(str(error).split()))\n"
    )
    assert "are of different builds; install both together" in last_line(code)


def test_one_core_serves_the_ops_and_the_c_functions():
    """Threads set by the C function are those that the library maps once."""
    needs_library()
    code = (
        "native.require()\n"
        "maps = open('/proc/self/maps').read().splitlines()\n"
        "print(len({line.split()[-1] for line in maps if 'libkeras_int8nmt_core' in line}))"
    )
    assert last_line(code) == "1"
