"""Finds and loads the native library, on first use and once.

It is not used where it was not built, or with `KERAS_INT8NMT_NATIVE=0`; then `reason()` says why,
and the same layers run on stock TensorFlow operations, slower. A library that is there and does not
load is an error, never passed over in silence.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

_LIBRARY = Path(__file__).resolve().parent / "_native" / "libkeras_int8nmt.so"
_SWITCH = "KERAS_INT8NMT_NATIVE"


@dataclass(frozen=True)
class _Loaded:
    """The outcome of the search: the library's two faces, or why there is none."""

    reason: str | None = None
    ops: ModuleType | None = None
    functions: ctypes.CDLL | None = None
    info: dict[str, Any] | None = None


_lock = threading.Lock()
_loaded: _Loaded | None = None


def library() -> ModuleType | None:
    """The module of generated op functions (`keras_int8nmt_mat_mul`, ...), or None if not used.

    Raises:
        RuntimeError: If the library is there but does not load, or can't run as
            `KERAS_INT8NMT_GEMM` and `KERAS_INT8NMT_ISA` ask.
        ValueError: If `KERAS_INT8NMT_NATIVE` is neither 0 nor 1.
    """
    return _load().ops


def require() -> ModuleType:
    """`library()`, where there must be one.

    Raises:
        RuntimeError: If the native library is not used, and why.
    """
    loaded = _load()
    if loaded.ops is None:
        raise RuntimeError(f"This needs the native library: {loaded.reason}.")
    return loaded.ops


def functions() -> ctypes.CDLL | None:
    """The library's C functions, or None if not used."""
    return _load().functions


def reason() -> str | None:
    """Why the native library is not used; None if it is."""
    return _load().reason


def info() -> dict[str, Any]:
    """What the ops run on.

    Returns:
        `native` (bool). If True, `library` (its path), `isa`, `gemm`, `gemm_way` (how that back
        end computes here; "pairs" and "split" where pairs of products saturate), `weight_bits`
        (see there) and `threads`; if False, `reason`.
    """
    loaded = _load()
    if loaded.functions is None:
        return {"native": False, "reason": loaded.reason}
    threads = loaded.functions.keras_int8nmt_num_threads()
    return {"native": True, "library": str(_LIBRARY), **(loaded.info or {}), "threads": threads}


def weight_bits() -> int:
    """Bits of the widest weights that INT8 products run at their best speed with: 8 or 7.

    7 where the CPU adds products of uint8 and int8 in pairs in 16 bits that saturate, as without
    VNNI. Sums of 8-bit weights are exact there, too, but take two products instead of one.
    """
    return int(info().get("weight_bits", 8))


def set_num_threads(threads: int) -> None:
    """Threads of one matrix product, 1 unless set. Without the native library it does nothing.

    Raises:
        ValueError: If `threads` is below 1.
    """
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1; received {threads}.")
    functions = _load().functions
    if functions is not None:
        functions.keras_int8nmt_set_num_threads(threads)


def int8_peak(seconds: float = 0.2) -> float:
    """What one core's INT8 instructions can do: 10^9 operations a second, measured now.

    A product and an addition are two operations. 0.0 without the native library, and on a CPU
    without AVX512-VNNI.
    """
    loaded = _load().functions
    return 0.0 if loaded is None else float(loaded.keras_int8nmt_int8_peak(seconds))


@contextmanager
def op_times() -> Iterator[dict[str, dict[str, float]]]:
    """Counts the time in each op while the block runs; the dict that it gives is filled at the end.

    By the name of the op: `calls` and `seconds`, the latter summed over all threads. Without the
    native library it stays empty.
    """
    functions = _load().functions
    times: dict[str, dict[str, float]] = {}
    if functions is None:
        yield times
        return
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
                _loaded = _find()
    return _loaded


def _find() -> _Loaded:
    switch = os.environ.get(_SWITCH, "")
    if switch not in ("", "0", "1"):
        raise ValueError(f"{_SWITCH} is {switch!r}; choose 0 (stock operations only) or 1.")
    if switch == "0":
        return _Loaded(reason=f"{_SWITCH}=0")
    if not _LIBRARY.is_file():
        return _Loaded(reason=f"this installation has no native library ({_LIBRARY})")
    return _open(_LIBRARY)


def _open(path: Path) -> _Loaded:
    try:
        # In this order: TensorFlow collects the ops while the library loads, which happens once.
        ops = tf.load_op_library(str(path))
        functions = ctypes.CDLL(str(path))
        functions.keras_int8nmt_info.restype = ctypes.c_char_p
        functions.keras_int8nmt_info.argtypes = []
        functions.keras_int8nmt_profile_stop.restype = ctypes.c_char_p
        functions.keras_int8nmt_profile_stop.argtypes = []
        functions.keras_int8nmt_num_threads.restype = ctypes.c_int
        functions.keras_int8nmt_num_threads.argtypes = []
        functions.keras_int8nmt_int8_peak.restype = ctypes.c_double
        functions.keras_int8nmt_int8_peak.argtypes = [ctypes.c_double]
        functions.keras_int8nmt_set_num_threads.restype = None
        functions.keras_int8nmt_set_num_threads.argtypes = [ctypes.c_int]
    except (tf.errors.OpError, OSError, AttributeError) as error:
        raise RuntimeError(
            f"The native library {path} does not load in TensorFlow {tf.__version__}: {error}. "
            f"Install keras-int8nmt again, or set {_SWITCH}=0 to run on TensorFlow's own, slower "
            "operations."
        ) from error
    info = json.loads(functions.keras_int8nmt_info())
    if "error" in info:
        raise RuntimeError(f"The native library {path} can't be used: {info['error']}")
    return _Loaded(ops=ops, functions=functions, info=info)
