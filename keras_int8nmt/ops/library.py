"""Finds and loads the library of TensorFlow's ops, which runs on the native core; see `native`."""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tensorflow as tf

from keras_int8nmt import native

# Users load it by this name in programs that have no keras_int8nmt.
_LIBRARY = native.FOLDER / "libkeras_int8nmt.so"


@dataclass(frozen=True)
class _Loaded:
    """The library's two faces."""

    ops: ModuleType
    functions: ctypes.CDLL


_lock = threading.Lock()
_loaded: _Loaded | None = None


def library() -> ModuleType | None:
    """The module of generated op functions (`keras_int8nmt_mat_mul`, ...), or None if not used.

    Raises:
        RuntimeError: If the library is there but does not load, or can't run as
            `KERAS_INT8NMT_GEMM` and `KERAS_INT8NMT_ISA` ask.
        ValueError: If `KERAS_INT8NMT_NATIVE` is neither 0 nor 1.
    """
    return None if native.functions() is None else _load().ops


def require() -> ModuleType:
    """`library()`, where there must be one.

    Raises:
        RuntimeError: If the native library is not used, and why.
    """
    native.require_functions()
    return _load().ops


@contextmanager
def op_times() -> Iterator[dict[str, dict[str, float]]]:
    """Counts the time in each op while the block runs; the dict that it gives is filled at the end.

    By the name of the op: `calls` and `seconds`, the latter summed over all threads. Without the
    native library it stays empty.
    """
    times: dict[str, dict[str, float]] = {}
    if native.functions() is None:
        yield times
        return
    functions = _load().functions
    functions.keras_int8nmt_profile_start()
    try:
        yield times
    finally:
        times.update(json.loads(functions.keras_int8nmt_profile_stop()))


def _load() -> _Loaded:
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _open(_LIBRARY)
    return _loaded


def _open(path: Path) -> _Loaded:
    try:
        # In this order: TensorFlow collects the ops while the library loads, which happens once.
        ops = tf.load_op_library(str(path))
        functions = ctypes.CDLL(str(path))
        for name in ("ops_error", "profile_stop"):
            function = getattr(functions, f"keras_int8nmt_{name}")
            function.restype, function.argtypes = ctypes.c_char_p, []
    except (tf.errors.OpError, OSError, AttributeError) as error:
        raise RuntimeError(
            f"The native library {path} does not load in TensorFlow {tf.__version__}: {error}. "
            f"Install keras-int8nmt again, or set {native.SWITCH}=0 to run on TensorFlow's own, "
            "slower operations."
        ) from error
    wrong = functions.keras_int8nmt_ops_error().decode()
    if wrong:
        raise RuntimeError(f"The native library {path} can't be used: {wrong}.")
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    if threads > 0:
        native.take_num_threads(min(threads, native.MOST_THREADS))
    return _Loaded(ops, functions)
