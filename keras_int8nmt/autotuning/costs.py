"""What each MatMul costs in INT8 and in float32: an estimate by counting, nothing is timed.

So the order in which MatMuls are weighed is the same on every machine and in every run. The rates
are those of one core in docs/benchmarks.md (`bench gemm`, `bench profile`); only their ratios
matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_int8nmt.autotuning.search import Times
from keras_int8nmt.conversion.transformer import output_matmul
from keras_int8nmt.layers.matmuls import (
    MatMul,
    TensorMatMul,
    WeightMatMul,
    attention_matmuls,
    dense_matmul,
)
from keras_int8nmt.layers.model_state import quant_layers
from keras_int8nmt.models.transformer import Transformer

# Multiply-adds a nanosecond in products with weights: INT8 is 3.5 times as fast as float32.
WEIGHTS_RATE = {"int8": 215.0, "float32": 62.0}
# INT8 multiply-adds a nanosecond in QK^T and AV, which wait for keys and values more than they
# compute. Those of a beam are its own in self-attention, and shared in cross-attention.
ENCODER_RATE, SELF_RATE, CROSS_RATE = 32.0, 7.5, 24.0
# Float32 reads four times the bytes, but a good part of the time does not go into reading: taken as
# half the rate.
DYNAMIC_SLOWER = {"int8": 1.0, "float32": 2.0}
# Weights are read once in each step of a batch.
BYTES = {"int8": 1, "float32": 4}
BYTES_PER_NS = 36.0

_PRECISIONS = ("int8", "float32")


@dataclass(frozen=True)
class Workload:
    """What is translated: mean lengths in tokens, and how.

    Attributes:
        source_tokens, target_tokens: Mean tokens of a sentence.
        beam_size: Hypotheses a sentence.
        batch_size: Sentences computed together.
    """

    source_tokens: float = 16.0
    target_tokens: float = 16.0
    beam_size: int = 4
    batch_size: int = 32


@dataclass(frozen=True)
class _Passes:
    """How often a product with weights runs for one sentence: rows, and reads of its weights."""

    rows: float
    reads: float


def _times(matmul: MatMul, passes: _Passes, pairs: float, rate: float) -> Times:
    """A MatMul.

    Args:
        matmul: The MatMul.
        passes: Of one with weights.
        pairs: Pairs of a query and a key, for a product of two tensors.
        rate: Of a product of two tensors.
    """
    if isinstance(matmul, TensorMatMul):
        macs = matmul.multiply_adds * pairs
        return Times(*(macs / rate * DYNAMIC_SLOWER[p] for p in _PRECISIONS))
    macs = float(np.prod(matmul.kernel().shape))
    computing, reading = macs * passes.rows, macs * passes.reads
    return Times(
        *(computing / WEIGHTS_RATE[p] + reading * BYTES[p] / BYTES_PER_NS for p in _PRECISIONS)
    )


def _attention(
    layer: Any, own: _Passes, other: _Passes, pairs: float, rate: float
) -> dict[str, Times]:
    """An attention layer.

    Args:
        layer: The layer.
        own: Of the projections of queries and of the output.
        other: Of the projections of keys and values.
        pairs: Of a query and a key.
        rate: Of QK^T and AV.
    """
    return {
        matmul.name: _times(matmul, other if matmul.part in ("key", "value") else own, pairs, rate)
        for matmul in attention_matmuls(layer)
    }


def matmul_times(model: Any, work: Workload) -> dict[str, Times]:
    """Estimated nanoseconds a sentence of each MatMul, by its name in the conversion report.

    Args:
        model: A model that can be converted. In a model that is no `Transformer` each layer is
            taken to see one row, and attention `source_tokens` of them.
        work: What is translated.
    """
    if isinstance(model, Transformer):
        return _transformer_times(model, work)
    found: dict[str, Times] = {}
    passes = _Passes(1.0, 1.0 / work.batch_size)
    for layer in quant_layers(model):
        for matmul in layer.matmuls():
            found[matmul.name] = _times(matmul, passes, work.source_tokens, ENCODER_RATE)
    return found


def _transformer_times(model: Transformer, work: Workload) -> dict[str, Times]:
    source, target = work.source_tokens, work.target_tokens
    rows = target * work.beam_size
    encoding = _Passes(source, 1.0 / work.batch_size)
    decoding = _Passes(rows, target / work.batch_size)
    found: dict[str, Times] = {}

    def weights(matmul: WeightMatMul, passes: _Passes) -> None:
        found[matmul.name] = _times(matmul, passes, 0.0, 1.0)

    for block in model.encoder_blocks:
        layer, pairs = block.attention, source * source
        found.update(_attention(layer, encoding, encoding, pairs, ENCODER_RATE))
        for dense in (block.ffn_in, block.ffn_out):
            weights(dense_matmul(dense), encoding)
    for block in model.decoder_blocks:
        # Position t looks at t + 1 positions.
        layer, pairs = block.self_attention, rows * (target + 1) / 2
        found.update(_attention(layer, decoding, decoding, pairs, SELF_RATE))
        layer, pairs = block.cross_attention, rows * source
        found.update(_attention(layer, decoding, encoding, pairs, CROSS_RATE))
        for dense in (block.ffn_in, block.ffn_out):
            weights(dense_matmul(dense), decoding)
    weights(output_matmul(model), decoding)
    return found
