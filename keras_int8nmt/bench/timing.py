"""Interleaved measurements: A B A B, medians and spread."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_int8nmt.ops import functions as ops


@dataclass(frozen=True)
class Measurement:
    """Seconds of one call: median, fastest and slowest of the repetitions."""

    median: float
    fastest: float
    slowest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Measurement:
        return cls(statistics.median(seconds), min(seconds), max(seconds))

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (self.slowest - self.fastest) / self.median

    def per(self, steps: int) -> Measurement:
        """The same for one of `steps` steps that a call consists of, in microseconds."""
        factor = 1e6 / steps
        return Measurement(self.median * factor, self.fastest * factor, self.slowest * factor)


def interleaved(calls: Mapping[str, Callable[[], Any]], repeat: int = 7) -> dict[str, Measurement]:
    """Times each of `calls` `repeat` times, in turns, after one call each to warm up.

    Args:
        calls: Functions by name; each returns when its work is done.
        repeat: Turns.

    Returns:
        A `Measurement` by name.
    """
    for call in calls.values():
        call()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            samples[name].append(time.perf_counter() - start)
    return {name: Measurement.of(seconds) for name, seconds in samples.items()}


def looped(step: Callable[[Any], Any], inputs: Sequence[Any], trips: int) -> Callable[[], Any]:
    """A function that calls `step` on each of `inputs`, `trips` times over, one after the other.

    All of it is one traced function with a loop inside: calling it from Python costs half a
    millisecond, which is shared by all steps. `inputs` must be distinct tensors, since equal calls
    in one round would be computed once.
    """

    @tf.function(autograph=False)
    def run(trips: tf.Tensor, *xs: Any) -> tf.Tensor:
        def body(i: tf.Tensor) -> tuple[tf.Tensor]:
            last = i
            for x in xs:
                with tf.control_dependencies([last]):
                    last = step(x)
            with tf.control_dependencies([last]):
                return (i + 1,)

        return tf.while_loop(lambda i: i < trips, body, (tf.constant(0),), parallel_iterations=1)[0]

    count = tf.constant(trips)
    return lambda: run(count, *inputs).numpy()


def row(
    name: str,
    case: str,
    ours: float,
    peer: float,
    unit: str,
    *,
    spread: float | None = None,
    smaller_is_better: bool = True,
) -> dict[str, Any]:
    """One row of a benchmark.

    `ratio` is a speed-up, above 1 where ours is faster. `spread` is (slowest - fastest) / median of
    the side that varied more; None for what was measured once.
    """
    return {
        "name": name,
        "case": case,
        "ours": ours,
        "peer": peer,
        "unit": unit,
        "ratio": peer / ours if smaller_is_better else ours / peer,
        "spread": spread,
    }


def timed_row(name: str, case: str, ours: Measurement, peer: Measurement) -> dict[str, Any]:
    """The row of two times in microseconds."""
    spread = max(ours.spread, peer.spread)
    return row(name, case, ours.median, peer.median, "us", spread=spread)


def speed(gops: float, peak: float) -> dict[str, float]:
    """Of a row: 10^9 operations a second, and their share of `int8_peak` unless that is 0."""
    return {"gops": gops, **({"percent_of_int8_peak": 100 * gops / peak} if peak else {})}


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
    """Makes all operations run on one thread, and all that are asked for; to be called first.

    Raises:
        RuntimeError: if TensorFlow has started already with other settings.
    """
    # Else products whose values nobody reads would be taken out of the measured loops.
    tf.config.optimizer.set_experimental_options(
        {"dependency_optimization": False, "loop_optimization": False}
    )
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ops.set_num_threads(1)


def require_native() -> Any:
    """The raw native ops.

    Raises:
        RuntimeError: without the native library there is nothing to measure.
    """
    from keras_int8nmt import native
    from keras_int8nmt.ops.library import library

    found = library()
    if found is None:
        raise RuntimeError(f"This benchmark needs the native library: {native.reason()}.")
    return found
