"""`bench gather`: reordering int8 caches, one thread (arXiv 1906.00532, section 5.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.bench.timing import (
    interleaved,
    looped,
    machine,
    one_thread,
    require_native,
    timed_row,
)
from keras_int8nmt.ops import functions as ops

SHAPES = ((128, 8, 64, 64), (128, 8, 8, 64), (128, 512))
_ORDERS = 32
_TRIPS = 20


def run_gather() -> dict[str, Any]:
    """Measures all shapes.

    Returns:
        `machine` and `rows`: `int8_gather` against `tf.gather_nd` on float32 (what a float model
        does), against `tf.gather` on int8, and against TensorFlow's operation that copies as many
        bytes by one memcpy (`DeepCopy`); microseconds a gather.
    """
    one_thread()
    require_native()
    rows = []
    for shape in SHAPES:
        rows.extend(_measure(shape))
    return {"machine": machine(), "rows": rows}


def _measure(shape: tuple[int, ...]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    int8 = tf.constant(rng.integers(-127, 128, shape).astype(np.int8))
    floats = tf.cast(int8, tf.float32)
    orders = [
        tf.constant(rng.integers(0, shape[0], shape[0]).astype(np.int32)) for _ in range(_ORDERS)
    ]
    steps: dict[str, Any] = {
        "ours": lambda i: ops.int8_gather(int8, i),
        "gather_nd float32": lambda i: tf.gather_nd(floats, i),
        "gather int8": lambda i: tf.gather(int8, i),
        "memcpy": lambda _: tf.raw_ops.DeepCopy(x=int8),
    }
    nested = [order[:, None] for order in orders]  # as gather_nd wants them
    calls = {
        name: looped(step, nested if "gather_nd" in name else orders, _TRIPS)
        for name, step in steps.items()
    }
    times = {name: t.per(_ORDERS * _TRIPS) for name, t in interleaved(calls).items()}
    case = "x".join(str(size) for size in shape)
    return [
        timed_row(f"gather vs {peer}", case, times["ours"], times[peer])
        for peer in calls
        if peer != "ours"
    ]
