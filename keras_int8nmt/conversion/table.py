"""Which function converts which layer type: one row a type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_int8nmt.conversion.layers import (
    convert_attention,
    convert_cached_attention,
    convert_dense,
    convert_einsum_dense,
    convert_embedding,
    convert_group_query_attention,
    convert_reversible_embedding,
    convert_t5_attention,
)
from keras_int8nmt.conversion.policy import Assignment
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.layers.quant_einsum_dense import QuantEinsumDense
from keras_int8nmt.layers.quant_group_query_attention import QuantGroupQueryAttention
from keras_int8nmt.layers.quant_layer import QuantLayer
from keras_int8nmt.layers.quant_t5_attention import QuantT5MultiHeadAttention

# A calibrated layer and the choices for its MatMuls in, a frozen layer out.
Converter = Callable[[Any, Assignment], keras.layers.Layer]

# A new layer joins here.
_CONVERTERS: dict[type, Converter] = {
    QuantDense: convert_dense,
    QuantEinsumDense: convert_einsum_dense,
    QuantAttention: convert_attention,
    QuantCachedMultiHeadAttention: convert_cached_attention,
    QuantGroupQueryAttention: convert_group_query_attention,
    QuantT5MultiHeadAttention: convert_t5_attention,
    Int8Gather: convert_embedding,
}
if hasattr(keras.layers, "ReversibleEmbedding"):
    from keras_int8nmt.layers.quant_reversible_embedding import QuantReversibleEmbedding

    _CONVERTERS[QuantReversibleEmbedding] = convert_reversible_embedding


def register_converter(layer_type: type, converter: Converter) -> None:
    """Makes `convert` take another layer type.

    Args:
        layer_type: A Keras layer that is also a `QuantLayer`. Layers of exactly this type are
            converted: what a subclass changes nobody here knows.
        converter: Function of a calibrated layer and an `Assignment` that makes the frozen layer.
            It must not change the layer. `assignment.is_int8(name)` tells of each of
            `layer.matmuls()` by its name whether it shall be INT8 or float32, `assignment.options`
            how INT8 is made.

    Raises:
        ValueError: for a type that is no `QuantLayer`, and for one that has a converter.
    """
    if not issubclass(layer_type, QuantLayer):
        raise ValueError(f"{layer_type.__name__} must be a QuantLayer to be converted.")
    if layer_type in _CONVERTERS:
        raise ValueError(f"{layer_type.__name__} has a converter already.")
    _CONVERTERS[layer_type] = converter


def converter_of(layer: Any) -> Converter | None:
    """What converts `layer`; None where it can only stay as it is."""
    converter = _CONVERTERS.get(type(layer))
    return None if converter is None or layer.unsupported_reasons() else converter


def float_reasons(layer: Any) -> list[str]:
    """Why a layer of a type that can be converted stays float; empty for another type."""
    return list(layer.unsupported_reasons()) if type(layer) in _CONVERTERS else []
