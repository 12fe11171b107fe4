"""`bench gather`: reordering int8 caches, one thread (arXiv 1906.00532, section 5.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt import ops
from keras_int8nmt.bench.timing import interleaved, machine, one_thread, require_native, row

SHAPES = ((128, 8, 64, 64), (128, 8, 8, 64), (128, 512))
_CALLS = 16


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
    orders = [tf.constant(rng.integers(0, shape[0], shape[0]).astype(np.int32)) for _ in range(2)]
    calls = {
        "ours": _chained(lambda x, i: ops.int8_gather(x, i), int8, orders),
        "gather_nd float32": _chained(lambda x, i: tf.gather_nd(x, i[:, None]), floats, orders),
        "gather int8": _chained(lambda x, i: tf.gather(x, i), int8, orders),
        "memcpy": _chained(lambda x, _: tf.raw_ops.DeepCopy(x=x), int8, orders),
    }
    times = {name: t.median / _CALLS * 1e6 for name, t in interleaved(calls, 7, 0.02).items()}
    case = "x".join(str(size) for size in shape)
    return [
        row(f"gather vs {peer}", case, times["ours"], times[peer], "us")
        for peer in calls
        if peer != "ours"
    ]


def _chained(gather: Any, x: tf.Tensor, orders: list[tf.Tensor]) -> Any:
    """A traced function that reorders `x` again and again, as a decoder reorders its caches."""

    @tf.function(autograph=False)
    def run(x: tf.Tensor, *orders: tf.Tensor) -> tf.Tensor:
        for call in range(_CALLS):
            x = gather(x, orders[call % len(orders)])
        return tf.reshape(x, (-1,))[:1]

    return lambda: run(x, *orders).numpy()
