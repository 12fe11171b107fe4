"""`tf_c_api.h` declares what the installed TensorFlow's own headers declare."""

import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

HEADER = Path(__file__).resolve().parents[2] / "keras_int8nmt" / "cc" / "ops" / "tf_c_api.h"
TENSORFLOW_HEADERS = ("kernels", "ops", "tf_datatype", "tf_status", "tf_tensor")


def compile_header(text: str, folder: Path) -> subprocess.CompletedProcess:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the header with")
    source = folder / "check.cc"
    includes = "".join(f'#include "tensorflow/c/{name}.h"\n' for name in TENSORFLOW_HEADERS)
    source.write_text(f"{includes}#define KERAS_INT8NMT_TF_HEADERS\n{text}")
    command = [compiler, "-std=c++17", "-fsyntax-only", "-isystem", tf.sysconfig.get_include()]
    return subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)


def test_agrees_with_tensorflow(tmp_path):
    result = compile_header(HEADER.read_text(), tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("TF_TensorByteSize(const TF_Tensor* tensor)", "TF_TensorByteSize(TF_Tensor* tensor, int)"),
        ("int TF_NumDims(", "int64_t TF_NumDims("),
        ("entry(TF_INT8, 6)", "entry(TF_INT8, 7)"),
    ],
)
def test_a_wrong_declaration_is_seen(tmp_path, right, wrong):
    text = HEADER.read_text()
    assert right in text
    assert compile_header(text.replace(right, wrong), tmp_path).returncode != 0
