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
from keras_int8nmt.conversion.layers import array, attention_inputs
from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.layers.model_state import quant_layers
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense
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

PROBABILITIES = QuantParams(np.float32(255), 0, "uint8")


def measure_output_sqnr(
    model: Any, sample: Any, rows: list[MatMulRow], options: ConversionOptions
) -> list[MatMulRow]:
    """`rows` with `output_sqnr_db` filled in for every INT8 MatMul that the sample reached."""
    found: dict[str, float] = {}
    of_attention = _dynamic_attention if options.dynamic else _attention

    with ExitStack() as stack:
        seen = [(layer, _watch(stack, layer)) for layer in quant_layers(model)]
        output = getattr(model, "output_observer", None)
        last = {} if output is None else {"x": stack.enter_context(_tapped(output))}
        model(sample, training=False)
    for layer, taps in seen:
        if isinstance(layer, QuantDense):
            # A layer called twice is judged by its first call.
            for x in taps["x"][:1]:
                kernel = array(layer.kernel)
                found[layer.path] = _weights_sqnr(x, kernel, layer.input_observer, options)
        else:
            found.update(of_attention(layer, taps, options))
    if output is not None and last["x"]:
        table = array(model.target_embedding.embeddings)
        found["output_projection"] = _weights_sqnr(last["x"][0], table.T, output, options)
    return [
        replace(row, output_sqnr_db=found.get(row.name)) if row.precision == "int8" else row
        for row in rows
    ]


def sqnr_db(reference: np.ndarray, approximation: np.ndarray) -> float:
    """10 log10(power of the reference / power of the difference); inf where they are equal."""
    noise = float(np.sum(np.square(reference - approximation, dtype=np.float64)))
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(max(signal, np.finfo(np.float64).tiny) / noise))


@contextmanager
def _tapped(observer: Any, attribute: str = "tap") -> Iterator[list[np.ndarray]]:
    """What passes by while the block runs; the state is not touched."""
    seen: list[np.ndarray] = []
    setattr(observer, attribute, lambda x: seen.append(np.asarray(x, np.float32)))
    try:
        yield seen
    finally:
        setattr(observer, attribute, None)


def _watch(stack: ExitStack, layer: Any) -> dict[str, list[np.ndarray]]:
    if isinstance(layer, QuantDense):
        return {"x": stack.enter_context(_tapped(layer.input_observer))}
    taps = {
        name: stack.enter_context(_tapped(getattr(layer, name)))
        for name in ("query_input", "key_input", "value_input")
    }
    for name in ("query", "key", "value", "context"):
        # Under a key of its own: a group may have the same name.
        taps["projected " + name] = stack.enter_context(_tapped(getattr(layer, name)))
    taps["probabilities"] = stack.enter_context(_tapped(layer, "probability_tap"))
    return taps


def _rounded(x: np.ndarray, params: QuantParams) -> np.ndarray:
    return dequantize(quantize(x, params), params)


def _weights_sqnr(
    x: np.ndarray, kernel: np.ndarray, observer: Any, options: ConversionOptions
) -> float:
    """Of a product with `kernel` `[k, n]`, whose input `observer` has seen."""
    x = x.reshape(-1, kernel.shape[0])[:MAX_ROWS]
    codes, scale = quantize_weights(kernel, options.per_channel, options.weight_bits)
    if options.dynamic:
        zeros = np.zeros(kernel.shape[1], np.float32)
        return sqnr_db(x @ kernel, dynamic_matmul(x, codes, scale, zeros))
    coarse = _rounded(x, observer.params()) @ (codes.astype(np.float32) / scale)
    if options.bias_correction:
        means = observer.channel_statistics.means()
        coarse += corrected_bias(kernel, None, means, **options.weight_rule)
    return sqnr_db(x @ kernel, coarse)


def _kernels(layer: QuantAttention) -> dict[str, np.ndarray]:
    """`[k, n]` of the three projections and of the output projection."""
    projections = {"query": layer.query_dense, "key": layer.key_dense, "value": layer.value_dense}
    kernels = {name: array(dense.kernel) for name, dense in projections.items()}
    kernels = {name: kernel.reshape(kernel.shape[0], -1) for name, kernel in kernels.items()}
    output = array(layer.output_dense.kernel)
    return {**kernels, "attention_output": output.reshape(-1, output.shape[-1])}


def _dynamic_attention(
    layer: QuantAttention, taps: dict[str, list[np.ndarray]], options: ConversionOptions
) -> dict[str, float]:
    # An input observer sees nothing where one tensor is handed in twice.
    value = taps["value_input"] or taps["query_input"]
    inputs = {
        "query": taps["query_input"],
        "key": taps["key_input"] or value,
        "value": value,
        "attention_output": taps["projected context"],
    }
    return {
        f"{layer.path}/{name}": _weights_sqnr(inputs[name][0], kernel, None, options)
        for name, kernel in _kernels(layer).items()
        if inputs[name]
    }


def _attention(
    layer: QuantAttention, taps: dict[str, list[np.ndarray]], options: ConversionOptions
) -> dict[str, float]:
    found: dict[str, float] = {}
    kernels = _kernels(layer)
    for group, observer in attention_inputs(layer).items():
        for name in group.split("_"):
            for x in taps[observer.name][:1]:
                found[f"{layer.path}/{name}"] = _weights_sqnr(x, kernels[name], observer, options)
    if not taps["probabilities"]:
        return found
    q, k, v = (taps["projected " + name][0][:MAX_BATCH] for name in ("query", "key", "value"))
    p = taps["probabilities"][0][:MAX_BATCH]
    q8, k8, v8 = (
        _rounded(x, observer.params())
        for x, observer in ((q, layer.query), (k, layer.key), (v, layer.value))
    )
    for name, equation, exact, coarse in (
        ("QK", "btnh,bsnh->bnts", (q, k), (q8, k8)),
        ("AV", "bnts,bsnh->btnh", (p, v), (_rounded(p, PROBABILITIES), v8)),
    ):
        found[f"{layer.path}/{name}"] = sqnr_db(
            np.einsum(equation, *exact, optimize=True), np.einsum(equation, *coarse, optimize=True)
        )
    found[f"{layer.path}/attention_output"] = _weights_sqnr(
        taps["projected context"][0], kernels["attention_output"], layer.context, options
    )
    return found
