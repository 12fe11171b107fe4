"""A Transformer's `ModelSpec`, of the parts that its layers tell: float, INT8 or mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_int8nmt.layers.inference.arrays import as_array
from keras_int8nmt.layers.inference.int8_dense import require_fused
from keras_int8nmt.runtime.model_spec import ModelSpec, Part
from keras_int8nmt.runtime.spec_parts import float_product, norm, written

# What of a model's settings the native decoder reads.
_SETTINGS = ("model_dim", "max_length", "pad_id", "eos_id", "start_id")


class Stack(NamedTuple):
    """Encoder or decoder.

    Attributes:
        entry: What makes the first pair of the embedded tokens: a norm of a pre-norm model, or how
            a post-norm one writes the tokens themselves.
        blocks: The blocks, see `block_part`.
    """

    entry: Part
    blocks: Sequence[Part]


def transformer_spec(
    settings: Mapping[str, Any],
    *,
    positions: np.ndarray,
    multiplier: float,
    embeddings: tuple[Part, Part],
    stacks: tuple[Stack, Stack],
    projection: Part,
    packed: bool,
) -> ModelSpec:
    """The spec of a whole model.

    Args:
        settings: `Transformer.settings`.
        positions: float32 `[max_length, model_dim]`.
        multiplier: What embeddings are multiplied by.
        embeddings: Of source and target: `table`, and `inv_scales` of an int8 one.
        stacks: Encoder and decoder.
        projection: The output projection.
        packed: As in `ModelSpec`.
    """
    source, target = ({**part, "multiplier": float(multiplier)} for part in embeddings)
    parts: Part = {
        **{name: int(settings[name]) for name in _SETTINGS},
        "positions": positions,
        "source_embedding": source,
        "target_embedding": target,
        "output_projection": projection,
    }
    for name, stack in zip(("encoder", "decoder"), stacks, strict=True):
        blocks = {str(i): block for i, block in enumerate(stack.blocks)}
        parts[name] = {"layers": len(blocks), "entry": stack.entry, **blocks}
    return ModelSpec.of(parts, packed)


def block_part(attentions: Sequence[Part], ffn: tuple[Part, Part], norms: Sequence[Part]) -> Part:
    """A block: self-attention, in a decoder cross-attention, and the two products after them.

    `norms`: the end of each of these sub-layers.
    """
    *of_attentions, last = norms
    part: Part = {"ffn_in": ffn[0], "ffn_out": ffn[1], "ffn_norm": last}
    for name, attention, end in zip(("self", "cross"), attentions, of_attentions, strict=False):
        part |= {name: attention, f"{name}_norm": end}
    return part


# ---- layers of Keras in float32, and those of this package that are like them


def dense_part(layer: Any, packed: bool) -> Part:
    """A `keras.layers.Dense`."""
    bias = None if layer.bias is None else as_array(layer.bias)
    return float_product(
        as_array(layer.kernel), bias, packed, activation=require_fused(layer.activation)
    )


def attention_part(layer: Any, groups: Sequence[Sequence[str]], packed: bool) -> Part:
    """A `keras.layers.MultiHeadAttention`, with the projections of each group as one product."""
    projections = {"_".join(names): _side_by_side(layer, names, packed) for names in groups}
    kernel = as_array(layer.output_dense.kernel)
    bias = layer.output_dense.bias
    output = kernel.reshape(-1, kernel.shape[-1])
    return {
        "heads": layer.num_heads,
        "head_dim": layer.key_dim,
        "value_dim": layer.value_dim,
        "key_type": "float32",
        "value_type": "float32",
        "scale": 1.0 / math.sqrt(layer.key_dim),
        "softmax": "float",
        "context": {**written(None), "scale": 1.0},
        **projections,
        "output": float_product(output, None if bias is None else as_array(bias), packed),
    }


def _side_by_side(layer: Any, names: Sequence[str], packed: bool) -> Part:
    """Some of query, key and value."""
    kernels, biases = [], []
    for name in names:
        dense = getattr(layer, f"{name}_dense")
        kernel = as_array(dense.kernel)
        kernels.append(kernel.reshape(kernel.shape[0], -1))
        missing = dense.bias is None
        columns = kernels[-1].shape[1]
        biases.append(np.zeros(columns, np.float32) if missing else as_array(dense.bias).ravel())
    return float_product(np.concatenate(kernels, 1), np.concatenate(biases), packed)


def norm_part(layer: Any, pre_norm: bool) -> Part:
    """A `keras.layers.LayerNormalization`."""
    carry = "sum" if pre_norm else "norm"
    return norm(as_array(layer.gamma), as_array(layer.beta), layer.epsilon, carry)
