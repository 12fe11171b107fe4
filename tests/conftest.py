"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


_CACHE = "KERAS_INT8NMT_CACHE"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than 20 seconds")
    # What XLA compiles here runs for a moment, and most of its time goes into making that fast. It
    # reads this once, and tests that start another process hand it on.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    # No test writes where the user's own caches lie; all processes of a run share what is measured.
    if _CACHE not in os.environ:
        os.environ[_CACHE] = tempfile.mkdtemp(prefix="keras-int8nmt-cache-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(_CACHE), ignore_errors=True))


def pytest_collection_finish() -> None:
    # What was imported until now stays, a million objects of TensorFlow's and Keras': the garbage
    # collector need not look at them again and again.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def without_graphs() -> Iterator[None]:
    """For files that ask what is done and not how: tracing graphs would take most of their time."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def folder_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For files that are written, renamed and removed thousands of times: a disk waits for each."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("folder")
        return
    with tempfile.TemporaryDirectory(prefix="keras-int8nmt-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of corpora and trained models, which is not part of the repository."""
    folder = Path(os.environ.get("KERAS_INT8NMT_SHARED", _SHARED))
    if not folder.is_dir():
        pytest.skip(f"no shared data in {folder} (KERAS_INT8NMT_SHARED names another folder)")
    return folder
