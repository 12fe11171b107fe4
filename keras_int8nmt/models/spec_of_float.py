"""A float `Transformer`'s `ModelSpec`: all in float32, with the weights that it has now."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_int8nmt.layers.finite import require_finite
from keras_int8nmt.layers.inference.arrays import as_array
from keras_int8nmt.models.spec import (
    Stack,
    attention_part,
    block_part,
    dense_part,
    norm_part,
    transformer_spec,
)
from keras_int8nmt.runtime.model_spec import ModelSpec, NotDescribableError, Part
from keras_int8nmt.runtime.spec_parts import float_product, written

# Query, key and value as one product where they read one input, else the query by itself.
_OF_ONE_INPUT = (("query", "key", "value"),)
_OF_TWO = (("query",), ("key", "value"))


def spec_of_float(model: Any, packed: bool) -> ModelSpec:
    """The spec of a `Transformer`.

    Raises:
        NotDescribableError: when it computes in another type than float32.
        NotFiniteError: naming a weight that is NaN or infinite, of packed ones.
    """
    if model.compute_dtype != "float32":
        raise NotDescribableError(
            f"The native decoder computes in float32; the model does in {model.compute_dtype}."
        )
    model.build()
    try:
        return _spec(model, packed)
    except ValueError:
        # A NaN has no place there; by its name among the model's weights it is found sooner.
        require_finite(model)
        raise


def _spec(model: Any, packed: bool) -> ModelSpec:
    source, target = (
        {"table": as_array(layer.embeddings)}
        for layer in (model.source_embedding, model.target_embedding)
    )
    decoder = {"self_attention": _OF_ONE_INPUT, "cross_attention": _OF_TWO}
    return transformer_spec(
        model.settings,
        positions=np.ascontiguousarray(model.position_table, np.float32),
        multiplier=model.scale,
        embeddings=(source, target),
        stacks=(
            _stack(model.encoder_blocks, {"attention": _OF_ONE_INPUT}, model.encoder_norm, packed),
            _stack(model.decoder_blocks, decoder, model.decoder_norm, packed),
        ),
        projection=_projection(model, packed),
        packed=packed,
    )


def _projection(model: Any, packed: bool) -> Part:
    layer = model.output_projection
    if layer is not None:
        bias = None if layer.bias is None else as_array(layer.bias)
        return float_product(as_array(layer.kernel), bias, packed)
    bias = None if model.output_bias is None else as_array(model.output_bias)
    return float_product(as_array(model.target_embedding.embeddings).T, bias, packed)


def _stack(blocks: list[Any], attentions: dict[str, Any], final_norm: Any, packed: bool) -> Stack:
    """Each norm as the end of the sub-layer before it; a pre-norm stack begins with the first."""
    names = (*attentions, "ffn")
    own = [getattr(block, f"{name}_norm") for block in blocks for name in names]
    pre_norm = final_norm is not None
    ends = iter([*own[1:], final_norm] if pre_norm else own)
    parts = [
        block_part(
            [
                attention_part(getattr(block, name), groups, packed)
                for name, groups in attentions.items()
            ],
            (dense_part(block.ffn_in, packed), dense_part(block.ffn_out, packed)),
            [norm_part(next(ends), pre_norm) for _ in names],
        )
        for block in blocks
    ]
    first = {"kind": "norm", **norm_part(own[0], True)} if pre_norm else None
    return Stack(first or {"kind": "tokens", "writes": written(None)}, parts)
