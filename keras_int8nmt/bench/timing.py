"""Interleaved measurements: A B A B, medians and spread."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_int8nmt import ops


@dataclass(frozen=True)
class Measurement:
    """Seconds of one call: median, fastest and slowest of the repetitions."""

    median: float
    fastest: float
    slowest: float

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (self.slowest - self.fastest) / self.median


def interleaved(
    calls: Mapping[str, Callable[[], Any]], repeat: int = 7, at_least: float = 0.0
) -> dict[str, Measurement]:
    """Times each of `calls` `repeat` times, in turns, after one call each to warm up.

    Args:
        calls: Functions by name; each returns when its work is done.
        repeat: Turns.
        at_least: A turn repeats a call until so many seconds have passed.

    Returns:
        A `Measurement` by name.
    """
    loops = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        once = max(time.perf_counter() - start, 1e-7)
        loops[name] = max(1, round(at_least / once))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(loops[name]):
                call()
            samples[name].append((time.perf_counter() - start) / loops[name])
    return {
        name: Measurement(statistics.median(s), min(s), max(s)) for name, s in samples.items()
    }


def row(
    name: str, case: str, ours: float, peer: float, unit: str, *, smaller_is_better: bool = True
) -> dict[str, Any]:
    """One row of a benchmark; `ratio` is a speed-up, above 1 where ours is faster."""
    ratio = peer / ours if smaller_is_better else ours / peer
    return {"name": name, "case": case, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "tensorflow": tf.__version__,
        **{key: value for key, value in ops.native_info().items() if key != "library"},
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def one_thread() -> None:
    """Makes TensorFlow's and our operations run on one thread; to be called before any other.

    Raises:
        RuntimeError: if TensorFlow has started already with other settings.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ops.set_num_threads(1)


def require_native() -> Any:
    """The raw native ops.

    Raises:
        RuntimeError: without the native library there is nothing to measure.
    """
    from keras_int8nmt import native

    library = native.library()
    if library is None:
        raise RuntimeError(f"This benchmark needs the native library: {native.reason()}.")
    return library
