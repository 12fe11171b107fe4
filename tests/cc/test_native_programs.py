"""The native tests: built with CMake, run once for each instruction set of this CPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keras_int8nmt import native

REPOSITORY = Path(__file__).resolve().parents[2]
# As deep below the sources as the folders that CI builds in: paths from one to the other are the
# same, so that a compiler cache knows the objects.
BUILD = Path("build", "native")


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
def tree(tmp_path_factory) -> Path:
    """A copy of the sources that may be changed; BUILD in it holds its native tests."""
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler to build the native tests with")
    tree = tmp_path_factory.mktemp("native")
    shutil.copy(REPOSITORY / "CMakeLists.txt", tree)
    for folder in ("keras_int8nmt/cc", "tests/cc"):
        shutil.copytree(REPOSITORY / folder, tree / folder)
    options = ["-DKERAS_INT8NMT_TESTS=ON", f"-DPython_EXECUTABLE={sys.executable}"]
    run(["cmake", "-S", str(tree), "-B", str(tree / BUILD), *options])
    build(tree, "all")
    return tree


def build(tree: Path, *targets: str) -> None:
    """Builds what has changed since it was built last."""
    run(["cmake", "--build", str(tree / BUILD), "--parallel", "2", "--target", *targets])


def ctest(tree: Path, *options: str) -> str:
    return run(["ctest", "--test-dir", str(tree / BUILD), "--verbose", *options])


@pytest.mark.slow
def test_kernels_and_matrix_products_equal_plain_loops(tree, capsys):
    output = ctest(tree)
    told = re.findall(r"^\d+: ((?:ran|SKIPPED|instruction set).*)$", output, re.MULTILINE)
    with capsys.disabled():
        print("\n" + "\n".join(told))
    assert any("back end onednn" in line for line in told)


@pytest.mark.slow
def test_the_kernel_of_avx_vnni_has_no_instruction_of_avx512(tree):
    """A CPU that has AVX-VNNI alone would stop at an EVEX encoding or a 512-bit register."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump to take the object file apart with")
    objects = list((tree / BUILD).rglob("*avx_vnni.cc.o"))
    if not objects:
        pytest.skip("this compiler does not know AVX-VNNI")
    code = {path.name: run(["objdump", "-d", str(path)]) for path in objects}
    assert {"avx_vnni.cc.o", "vnni_kernel_avx_vnni.cc.o"} <= set(code)
    products = [line for line in code["vnni_kernel_avx_vnni.cc.o"].splitlines() if "dpbusd" in line]
    assert len(products) > 100
    assert all("{vex} vpdpbusd" in line and "%ymm" in line for line in products)
    for name, text in code.items():
        assert not re.search(r"%zmm|%k[0-7]\b|%ymm(1[6-9]|2\d|3[01])|\{evex\}", text), name
        # The first byte of an EVEX encoding, which no other instruction of 64-bit code begins with.
        assert not re.search(r"^ *[0-9a-f]+:\t62 ", text, re.MULTILINE), name


@pytest.mark.slow
def test_models_on_disk_give_the_stored_answers_on_every_instruction_set(tree, tmp_path):
    """By the C functions alone; .ci/arm runs the same program for ARM."""
    folder = tmp_path / "models"
    run([sys.executable, str(REPOSITORY / "scripts" / "make_spec_answers.py"), str(folder)])
    models = sorted(map(str, folder.iterdir()))
    sets = ["avx512_vnni", "avx512", "avx_vnni", "avx2", "generic"]
    best = native.info().get("isa", "generic")
    program = str(tree / BUILD / "keras_int8nmt" / "cc" / "spec_answers_test")
    for isa in sets[sets.index(best) :] if best in sets else [best]:
        output = run(["env", f"KERAS_INT8NMT_ISA={isa}", program, *models])
        assert f'"isa": "{isa}"' in output
        assert re.findall(r"(\d+) sentences differ", output) == ["0"] * 5
    changed = folder / "release_int8" / "answers.txt"
    changed.write_text(changed.read_text().replace("p-1 ", "p-2 ", 1))
    with pytest.raises(AssertionError, match="1 sentences differ"):
        run([program, str(folder / "release_int8")])


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
def test_an_instruction_set_is_two_files_and_a_row(tree):
    kernels = tree / "keras_int8nmt" / "cc" / "kernels"
    for name, text in TOY_SET.items():
        (kernels / "simd" / name).write_text(text)
    table = kernels / "instruction_sets.def"
    table.write_text(table.read_text() + TOY_ROW)
    # make would not know the new targets before CMake has read the row.
    run(["cmake", str(tree / BUILD)])
    build(tree, "vectors_toy_test", "kernels_test")
    output = ctest(tree, "-R", "^(vectors|kernels)_toy$")
    assert "ran vectors of toy: 0 failures" in output
    assert "ran: toy; skipped: none" in output
