"""Output SQNR of each MatMul on a sample: the float product against the quantized one.

Each product is judged alone: its float inputs, as the float model computes them on the sample, go
through both. So the figures show which MatMul quantization hurts, not what piles up before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from keras_int8nmt.conversion.bias_correction import corrected_bias
from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.layers.matmuls import MatMul, WeightMatMul
from keras_int8nmt.layers.observing.fixed_scale import FixedScale
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.quantization import (
    QuantParams,
    dequantize,
    dynamic_matmul,
    quantize,
    quantize_weights,
)

# Rows of a product's input that are looked at; more would not move the ratio by a tenth of a dB.
MAX_ROWS = 2048
# Batch entries of a product of two tensors that are looked at.
MAX_BATCH = 32

# What sides of products saw, by the identity of who watches them.
Seen = dict[int, list[np.ndarray]]


def measure_output_sqnr(
    model: Any,
    sample: Any,
    matmuls: list[MatMul],
    rows: list[MatMulRow],
    options: ConversionOptions,
) -> list[MatMulRow]:
    """`rows` with `output_sqnr_db` filled in for every INT8 MatMul that the sample reached.

    Args:
        model: The calibrated model.
        sample: Inputs of one batch.
        matmuls: The model's MatMuls.
        rows: Their rows in the report.
        options: How INT8 is made.
    """
    int8 = {row.name for row in rows if row.precision == "int8"}
    judged = [matmul for matmul in matmuls if matmul.name in int8]
    seen: Seen = {}
    with ExitStack() as stack:
        for side in (side for matmul in judged for side in matmul.sides):
            if id(side) not in seen:
                seen[id(side)] = stack.enter_context(_tapped(side))
        model(sample, training=False)
    found = {matmul.name: _output_sqnr(matmul, seen, options) for matmul in judged}
    return [
        replace(row, output_sqnr_db=found.get(row.name)) if row.name in int8 else row
        for row in rows
    ]


def _output_sqnr(matmul: MatMul, seen: Seen, options: ConversionOptions) -> float | None:
    """Of one MatMul; None where the sample did not reach it."""
    # A layer called twice is judged by its first call.
    if isinstance(matmul, WeightMatMul):
        # The observer whose thresholds count; without any, the first one that sees something.
        watchers = matmul.sides if options.dynamic else matmul.observers
        inputs = [x for side in watchers for x in seen[id(side)][:1]]
        return _weights_sqnr(inputs[0], matmul, options) if inputs else None
    tensors = [x[:MAX_BATCH] for side in matmul.sides for x in seen[id(side)][:1]]
    if len(tensors) != len(matmul.sides):
        return None
    rounded = [_rounded(x, side.params()) for x, side in zip(tensors, matmul.sides, strict=True)]
    exact = np.einsum(matmul.equation, *tensors, optimize=True)
    return sqnr_db(exact, np.einsum(matmul.equation, *rounded, optimize=True))


def sqnr_db(reference: np.ndarray, approximation: np.ndarray) -> float:
    """10 log10(power of the reference / power of the difference); inf where they are equal."""
    noise = float(np.sum(np.square(reference - approximation, dtype=np.float64)))
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(max(signal, np.finfo(np.float64).tiny) / noise))


@contextmanager
def _tapped(side: Observer | FixedScale) -> Iterator[list[np.ndarray]]:
    """What passes by while the block runs; the state is not touched."""
    seen: list[np.ndarray] = []
    side.tap = lambda x: seen.append(np.asarray(x, np.float32))
    try:
        yield seen
    finally:
        side.tap = None


def _rounded(x: np.ndarray, params: QuantParams) -> np.ndarray:
    return dequantize(quantize(x, params), params)


def _weights_sqnr(x: np.ndarray, matmul: WeightMatMul, options: ConversionOptions) -> float:
    """Of a product with weights, whose input is `x`."""
    kernel = matmul.kernel()
    x = x.reshape(-1, kernel.shape[0])[:MAX_ROWS]
    codes, scale = quantize_weights(kernel, options.per_channel, options.weight_bits)
    if options.dynamic:
        zeros = np.zeros(kernel.shape[1], np.float32)
        return sqnr_db(x @ kernel, dynamic_matmul(x, codes, scale, zeros))
    (observer,) = matmul.observers
    coarse = _rounded(x, observer.params()) @ (codes.astype(np.float32) / scale)
    if options.bias_correction:
        means = observer.channel_statistics.means()
        coarse += corrected_bias(kernel, None, means, **options.weight_rule)
    return sqnr_db(x @ kernel, coarse)
