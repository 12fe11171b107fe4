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
