"""The native tests: built with CMake, run once for each instruction set of this CPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(command: list[str]) -> str:
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("KERAS_INT8NMT_", "ONEDNN_", "DNNL_"))
    }
    # The venv's cmake and ninja, if it has them, also when the venv is not activated.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(command[0], path=environment["PATH"])
    if found is None:
        pytest.skip(f"no {command[0]} to build the native tests with")
    result = subprocess.run(
        [found, *command[1:]],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory) -> Path:
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler to build the native tests with")
    folder = tmp_path_factory.mktemp("native")
    options = ["-DKERAS_INT8NMT_TESTS=ON", f"-DPython_EXECUTABLE={sys.executable}"]
    run(["cmake", "-S", str(REPOSITORY), "-B", str(folder), *options])
    run(["cmake", "--build", str(folder), "--parallel", "2"])
    return folder


@pytest.mark.slow
def test_kernels_and_matrix_products_equal_plain_loops(build_folder, capsys):
    output = run(["ctest", "--test-dir", str(build_folder), "--verbose"])
    told = re.findall(r"^\d+: ((?:ran|SKIPPED|instruction set).*)$", output, re.MULTILINE)
    with capsys.disabled():
        print("\n" + "\n".join(told))
    assert any("back end onednn" in line for line in told)


# A set whose registers are those of the generic one.
TOY_SET = {
    "toy.h": """#include "simd/generic.h"
""",
    "toy.cc": """#include "simd/toy.h"

#include "simd/all.h"

namespace keras_int8nmt {

const Kernels kToyKernels = Table("toy");

}  // namespace keras_int8nmt
""",
}
TOY_ROW = 'INSTRUCTION_SET(toy, kToyKernels, any, "", true)\n'


@pytest.mark.slow
def test_an_instruction_set_is_two_files_and_a_row(tmp_path):
    shutil.copy(REPOSITORY / "CMakeLists.txt", tmp_path)
    for folder in ("keras_int8nmt/cc", "tests/cc"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    kernels = tmp_path / "keras_int8nmt" / "cc" / "kernels"
    for name, text in TOY_SET.items():
        (kernels / "simd" / name).write_text(text)
    table = kernels / "instruction_sets.def"
    table.write_text(table.read_text() + TOY_ROW)
    build = tmp_path / "build"
    options = ["-DKERAS_INT8NMT_TESTS=ON", "-DKERAS_INT8NMT_ONEDNN=OFF"]
    run(["cmake", "-S", str(tmp_path), "-B", str(build), *options])
    targets = ["vectors_toy_test", "kernels_test"]
    run(["cmake", "--build", str(build), "--parallel", "2", "--target", *targets])
    output = run(["ctest", "--test-dir", str(build), "--verbose", "-R", "^(vectors|kernels)_toy$"])
    assert "ran vectors of toy: 0 failures" in output
    assert "ran: toy; skipped: none" in output
