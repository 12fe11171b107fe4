"""Output SQNR of each MatMul on a sample: the float product against the quantized one.

Each product is judged alone: its float inputs, as the float model computes them on the sample, go
through both. So the figures show which MatMul quantization hurts, not what piles up before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from keras_int8nmt.calibration import observers
from keras_int8nmt.conversion_report import MatMulRow
from keras_int8nmt.quantization import QuantParams, dequantize, quantize, quantize_weights

# Rows of a product's input that are looked at; more would not move the ratio by a tenth of a dB.
MAX_ROWS = 2048


def sqnr_db(reference: np.ndarray, approximation: np.ndarray) -> float:
    """10 log10(power of the reference / power of the difference); inf where they are equal."""
    noise = float(np.sum(np.square(reference - approximation, dtype=np.float64)))
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(max(signal, np.finfo(np.float64).tiny) / noise))


def _rounded(x: np.ndarray, params: QuantParams) -> np.ndarray:
    return dequantize(quantize(x, params), params)


def _weights_sqnr(x: np.ndarray, kernel: Any, params: QuantParams) -> float:
    x = x.reshape(-1, x.shape[-1])[:MAX_ROWS]
    kernel = np.asarray(kernel, np.float32).reshape(x.shape[-1], -1)
    codes, scale = quantize_weights(kernel)
    return sqnr_db(x @ kernel, _rounded(x, params) @ (codes.astype(np.float32) / scale))


@contextmanager
def _taps(watched: list[tuple[str, Any]]) -> Iterator[dict[str, np.ndarray]]:
    """Collects what each observer sees while the block runs; the observers' state is not touched."""
    seen: dict[str, np.ndarray] = {}

    def tap(path: str) -> Any:
        def keep(x: Any) -> None:
            # A layer called twice is judged by its first call.
            seen.setdefault(path, np.asarray(x, np.float32))

        return keep

    for path, observer in watched:
        observer.tap = tap(path)
    try:
        yield seen
    finally:
        for _, observer in watched:
            observer.tap = None


def measure_output_sqnr(model: Any, sample: Any, rows: list[MatMulRow]) -> list[MatMulRow]:
    """`rows` with `output_sqnr_db` filled in for every INT8 MatMul that the sample reached."""
    watched = observers(model)
    with _taps(watched) as seen:
        model(sample, training=False)
    by_owner = {path: (observer, seen.get(path)) for path, observer in watched}
    measured = []
    for row in rows:
        value = _row_sqnr(model, row, by_owner)
        measured.append(row if value is None else replace(row, output_sqnr_db=value))
    return measured
