"""Keras' own tests of its layers, with ours in their place, on TensorFlow and on JAX.

    python tests/keras_suite/run.py [--backends tensorflow jax] [--plain]

The tests are those of the installed Keras, out of its source distribution, which pip fetches from
the package index into a temporary folder. What differs stands in `differences.toml`, with a reason
each: a test that fails and is not listed is an error, and so is a listed one that passes or that
Keras no longer has. `--plain` leaves Keras' own layers in place: what fails then is not ours.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

BACKENDS = ("tensorflow", "jax")
DIFFERENCES = Path(__file__).with_name("differences.toml")
# Of Keras' source distribution.
TESTS = (
    "keras/src/layers/core/dense_test.py",
    "keras/src/layers/core/einsum_dense_test.py",
    "keras/src/layers/core/embedding_test.py",
    "keras/src/layers/attention/multi_head_attention_test.py",
)
# Bytes; the tests have some ten thousand.
LARGEST = 1 << 20


def replaced() -> dict[str, type]:
    """Ours, by the names of Keras' layers."""
    from keras_int8nmt.layers import Int8Gather, QuantAttention, QuantDense, QuantEinsumDense

    return {
        "Dense": QuantDense,
        "EinsumDense": QuantEinsumDense,
        "Embedding": Int8Gather,
        "MultiHeadAttention": QuantAttention,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--plain", action="store_true", help="with Keras' own layers")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        return run(args.folder, args.backends[0], args.plain)
    with tempfile.TemporaryDirectory(prefix="keras-suite-") as name:
        fetch(Path(name))
        common = [sys.executable, __file__, "--folder", name, *["--plain"] * args.plain]
        processes = [
            subprocess.Popen(
                [*common, "--backends", backend],
                env={**os.environ, "KERAS_BACKEND": backend},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for backend in args.backends
        ]
        for process in processes:
            print(process.communicate()[0], flush=True)
    return status([process.returncode for process in processes])


def status(returncodes: Collection[int]) -> int:
    """1 where any process failed; one that a signal ended has a number below 0."""
    return int(any(returncodes))


def fetch(folder: Path) -> None:
    """Writes the tests of the installed Keras into `folder`."""
    version = importlib.metadata.version("keras")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", "keras", "--dest", str(folder), f"keras=={version}"]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("keras-*.tar.gz")
    with tarfile.open(archive) as tar:
        for path in TESTS:
            member = tar.getmember(f"keras-{version}/{path}")
            source = tar.extractfile(member)
            if source is None or member.size > LARGEST:
                raise ValueError(f"{archive.name}: {path} is no file of a test.")
            (folder / Path(path).name).write_bytes(source.read())
    archive.unlink()
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = requires_trainable_backend\n")


class Outcomes:
    """What pytest tells of each test, by its name without the folder."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.skipped: set[str] = set()
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("/")[2]
        self.seen.add(name)
        if report.failed:
            self.failed.setdefault(name, report.longreprtext)
        elif report.skipped:
            self.skipped.add(name)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext


def listed(backend: str) -> dict[str, str]:
    """The reasons of the tests that differ on a back end, by their names."""
    groups = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["differences"]
    return {
        name: group["reason"]
        for group in groups
        for name in group["tests"]
        if backend in group.get("backends", BACKENDS)
    }


def judged(outcomes: Outcomes, expected: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """What failed and is not expected to; what is expected to fail and does not."""
    unexplained = {
        name: text for name, text in sorted(outcomes.failed.items()) if name not in expected
    }
    return unexplained, sorted(set(expected) - set(outcomes.failed) - outcomes.skipped)


def put_ours_in_place() -> None:
    """In `keras.layers` alone: Keras' own code goes on finding its own layers.

    So `layer.quantize()` finds a subclass, as it does for users.
    """
    import keras
    from keras.src import layers

    for name, ours in replaced().items():
        assert getattr(layers, name) is getattr(keras.layers, name)
        setattr(layers, name, ours)
        setattr(keras.layers, name, ours)


def run(folder: Path, backend: str, plain: bool) -> int:
    """Runs the tests in this process, whose Keras has this back end; prints what differs."""
    import keras
    import pytest

    assert keras.backend.backend() == backend
    started = time.perf_counter()
    if not plain:
        put_ours_in_place()
    outcomes = Outcomes()
    files = [str(folder / Path(path).name) for path in TESTS]
    options = [f"--rootdir={folder}", "-c", str(folder / "pytest.ini"), "-W", "ignore"]
    options += ["--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:terminal"]
    pytest.main([*files, *options], plugins=[outcomes])
    unexplained, stale = judged(outcomes, {} if plain else listed(backend))
    for name, text in unexplained.items():
        print(f"---- {backend}: {name} fails and is not in {DIFFERENCES.name}:\n{text}\n")
    for name in stale:
        what = "passes" if name in outcomes.seen else "is no test of this Keras"
        print(f"---- {backend}: {name} is in {DIFFERENCES.name} and {what}")
    explained = len(outcomes.failed) - len(unexplained)
    passed = len(outcomes.seen) - len(outcomes.skipped) - len(outcomes.failed)
    print(f"{backend}, Keras {keras.__version__}: {explained} tests differ for a listed reason")
    wrong = len(unexplained) + len(stale)
    counts = f"{passed} passed, {wrong} failed, {len(outcomes.skipped)} skipped"
    print(f"==== {counts} in {time.perf_counter() - started:.2f}s ====")
    return 1 if wrong or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
