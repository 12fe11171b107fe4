"""`bench gemm`: INT8 products against float32 ones, shapes of Transformer base, one thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt import native
from keras_int8nmt._progress import progress_bar
from keras_int8nmt.bench.timing import (
    interleaved,
    looped,
    machine,
    one_thread,
    require_native,
    row,
    speed,
    timed_row,
)
from keras_int8nmt.ops import functions as ops

ROWS = (1, 8, 32, 128, 1024)
SHAPES = ((512, 512), (512, 2048), (2048, 512), (512, 32000))
# Distinct inputs of a shape, and how many multiplications a timed run has at least.
_INPUTS = 8
_WORK = 1e9
_PEAK_SECONDS = 0.05
# The mean in docs/benchmarks.md is over these row counts; at one row memory bounds both.
_MANY_ROWS = 8


def run_gemm(row_counts: Sequence[int] = ROWS) -> dict[str, Any]:
    """Measures all shapes.

    Args:
        row_counts: Rows of the inputs.

    Returns:
        `machine` and `rows`: INT8 codes in and float32 in (quantized on the way), each against
        the float32 product with prepared weights of the back end in force and against `tf.matmul`,
        microseconds a product; then geometric means over 8 rows and more. Rows of codes in have
        `gops`, 10^9 operations a second, and `percent_of_int8_peak` where this CPU's peak can be
        measured, which is done beside each case: a shared host's speed changes. They are of the
        median turn; `percent_in_fastest_turn` is of the one in which others took least of the core.
    """
    one_thread()
    library = require_native()
    info = ops.native_info()
    rows = []
    cases = [(m, k, n) for k, n in SHAPES for m in row_counts]
    with progress_bar(len(cases), "products") as bar:
        for m, k, n in cases:
            rows.extend(_measure(library, info["gemm"], info["float_gemm"], m, k, n))
            bar.update()
    return {"machine": machine(), "rows": rows + _means(rows)}


def _measure(
    library: Any, backend: str, float_backend: str, m: int, k: int, n: int
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(k, n)).astype(np.float32)
    bias = tf.constant(rng.normal(size=n).astype(np.float32))
    scales = tf.constant(np.full(n, 1e-3, np.float32))
    packed = ops.pack_weights(np.clip(np.rint(kernel * 30), -127, 127).astype(np.int8))
    packed_float = library.keras_int8nmt_pack_float(weights=kernel)
    weights = tf.constant(kernel)
    floats = [tf.constant(rng.normal(size=(m, k)).astype(np.float32)) for _ in range(_INPUTS)]
    trips = max(1, round(_WORK / (_INPUTS * m * k * n)))
    codes = [ops.quantize(x, 40.0) for x in floats]

    def int8_in(x: tf.Tensor) -> tf.Tensor:
        return ops.int8_matmul(x, packed, scales, bias)

    products = {
        "int8": looped(int8_in, codes, trips),
        "float": looped(lambda x: int8_in(ops.quantize(x, 40.0)), floats, trips),
        float_backend: looped(
            lambda x: library.keras_int8nmt_float_mat_mul(x=x, packed=packed_float, bias=bias),
            floats,
            trips,
        ),
        "tensorflow": looped(lambda x: tf.nn.bias_add(tf.matmul(x, weights), bias), floats, trips),
    }
    peaks = [native.int8_peak(_PEAK_SECONDS)]
    times = {name: t.per(_INPUTS * trips) for name, t in interleaved(products).items()}
    peaks.append(native.int8_peak(_PEAK_SECONDS))
    case = f"m{m} k{k} n{n}"
    found = {
        (ours, peer): timed_row(
            f"gemm {backend}{suffix} vs {peer}-float32", case, times[ours], times[peer]
        )
        for ours, suffix in (("int8", ""), ("float", " float-in"))
        for peer in (float_backend, "tensorflow")
    }
    operations = 2e-3 * m * k * n
    reached = speed(operations / times["int8"].median, max(peaks))
    fastest = speed(operations / times["int8"].fastest, max(peaks))
    if "percent_of_int8_peak" in fastest:
        reached["percent_in_fastest_turn"] = fastest["percent_of_int8_peak"]
    for peer in (float_backend, "tensorflow"):
        found["int8", peer].update(reached)
    return list(found.values())


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means by name over the cases with 8 rows and more."""
    means = []
    for name in dict.fromkeys(r["name"] for r in rows):
        chosen = [
            r for r in rows if r["name"] == name and int(r["case"].split()[0][1:]) >= _MANY_ROWS
        ]

        def mean(key: str, chosen: list[dict[str, Any]] = chosen) -> float:
            return math.exp(sum(math.log(r[key]) for r in chosen) / len(chosen))

        case = f"geometric mean, m >= {_MANY_ROWS}"
        spread = max(r["spread"] for r in chosen)
        means.append(row(name, case, mean("ours"), mean("peer"), "us", spread=spread))
    return means
