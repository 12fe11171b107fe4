"""What makes a library load with an older glibc than the compiler's: cc/glibc, and its script."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLIBC = ROOT / "keras_int8nmt" / "cc" / "glibc"
COMPILER, READELF = shutil.which("g++"), shutil.which("readelf")
LIMIT = (2, 28)

pytestmark = pytest.mark.skipif(
    COMPILER is None or READELF is None or not sys.platform.startswith("linux"),
    reason="g++ and readelf of Linux are needed",
)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("glibc") / "stubs"
    script = ROOT / "scripts" / "make_glibc_stubs.py"
    command = [sys.executable, str(script), "2.28", str(folder), COMPILER, READELF]
    subprocess.run(command, check=True)
    return folder


def link(stubs: Path, output: Path, *sources: str | Path) -> subprocess.CompletedProcess[str]:
    """A shared library, linked as glibc.cmake links ours."""
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-static-libstdc++", "-static-libgcc"]
    # Nothing leaves it but what is asked for, or the process' own functions would be taken.
    exports = output.with_suffix(".map")
    exports.write_text("{ global: old_glibc_*; local: *; };\n")
    options += [f"-L{stubs}", "-Wl,-z,defs", f"-Wl,--version-script={exports}", "-o", str(output)]
    return subprocess.run([COMPILER, *options, *sources], capture_output=True, text=True)


def needed(library: Path) -> set[tuple[int, ...]]:
    """The versions of glibc that a library names."""
    listing = subprocess.run(
        [READELF, "--wide", "--version-info", str(library)], capture_output=True, text=True
    ).stdout
    return {tuple(map(int, v.split("."))) for v in re.findall(r"Name: GLIBC_([\d.]+)", listing)}


def test_a_library_names_no_version_after_the_one_asked_for_and_works(stubs, tmp_path):
    library = tmp_path / "libold.so"
    linked = link(stubs, library, ROOT / "tests" / "cc" / "old_glibc_test.cc", GLIBC / "newer.cc")
    assert linked.returncode == 0, linked.stderr
    assert needed(library)
    assert max(needed(library)) <= LIMIT
    (tmp_path / "file.txt").write_text("word\n")
    checks = ctypes.CDLL(str(library)).old_glibc_checks
    assert checks(str(tmp_path / "file.txt").encode()) == 0


def test_without_the_stubs_it_would_name_later_ones(stubs, tmp_path):
    if tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 34):
        pytest.skip("the compiler's glibc is old itself")
    library = tmp_path / "libnew.so"
    command = [COMPILER, "-std=c++17", "-shared", "-fPIC", "-static-libstdc++", "-static-libgcc"]
    source = ROOT / "tests" / "cc" / "old_glibc_test.cc"
    subprocess.run([*command, "-o", str(library), str(source)], check=True)
    assert max(needed(library)) > LIMIT


def test_what_the_old_glibc_has_not_does_not_link(stubs, tmp_path):
    if tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 36):
        pytest.skip("the compiler's glibc has no such function")
    source = tmp_path / "new.cc"
    source.write_text("#include <stdlib.h>\nunsigned f() { return arc4random(); }\n")
    linked = link(stubs, tmp_path / "libnew.so", source)
    assert linked.returncode != 0
    assert "undefined reference to `arc4random'" in linked.stderr


def test_what_moved_into_libc_is_looked_for_where_it_was(stubs, tmp_path):
    source = tmp_path / "moved.cc"
    source.write_text(
        "#include <dlfcn.h>\n#include <pthread.h>\n"
        "void* f(pthread_t t) { pthread_detach(t); return dlopen(nullptr, 1); }\n"
    )
    library = tmp_path / "libmoved.so"
    linked = link(stubs, library, source)
    assert linked.returncode == 0, linked.stderr
    listing = subprocess.run(
        [READELF, "--dynamic", str(library)], capture_output=True, text=True
    ).stdout
    assert "[libpthread.so.0]" in listing
    assert "[libdl.so.2]" in listing
