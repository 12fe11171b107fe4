"""Which Quant layer stands in for which plain Keras layer: one row a type.

A row is a type of plain layers and what makes the Quant layer of one of them: a Quant class, where
that takes the plain layer's own configuration and has its weights in its order (as every class
does that inherits from the plain one), or a function of the plain layer, built, that gives a built
Quant layer with its weights. A function that can't replace a certain layer raises a
`ConversionError` with the reason; what a made layer says in `unsupported_reasons()` counts as one,
too. A type of a package that need not be installed is named as Keras registers it,
`"keras_hub>CachedMultiHeadAttention"`, and its maker imports the Quant class; one that is not
registered is recognized by a function.

The other half, Quant layer to frozen layer, is `table.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.conversion.same_settings import same_settings
from keras_int8nmt.conversion.t5_attention import is_t5_attention, quant_t5_attention
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.model_state import layers_of
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.layers.quant_einsum_dense import QuantEinsumDense
from keras_int8nmt.layers.quant_group_query_attention import QuantGroupQueryAttention
from keras_int8nmt.layers.quant_layer import QuantLayer

# A plain layer with weights in; the Quant layer of its settings and weights out.
Maker = Callable[[Any], keras.layers.Layer]

# A new Quant layer joins here.
_QUANT_LAYERS: dict[type | str, type | Maker] = {
    keras.layers.Dense: QuantDense,
    keras.layers.EinsumDense: QuantEinsumDense,
    keras.layers.MultiHeadAttention: QuantAttention,
    keras.layers.GroupQueryAttention: QuantGroupQueryAttention,
    "keras_hub>CachedMultiHeadAttention": QuantCachedMultiHeadAttention,
    keras.layers.Embedding: Int8Gather,
}
# What recognizes a type that has no registered name, and the maker.
_RECOGNIZED: list[tuple[Callable[[type], bool], Maker]] = [(is_t5_attention, quant_t5_attention)]
# Keras has it since 3.13, and KerasHub a class of its own that changes nothing.
if hasattr(keras.layers, "ReversibleEmbedding"):
    from keras_int8nmt.layers.quant_reversible_embedding import QuantReversibleEmbedding

    _QUANT_LAYERS[keras.layers.ReversibleEmbedding] = QuantReversibleEmbedding
    _QUANT_LAYERS["keras_hub>ReversibleEmbedding"] = QuantReversibleEmbedding


def register_quant_layer(plain: type | str, quant: type | Maker) -> None:
    """Makes `quantize_model` replace another layer type.

    Args:
        plain: A Keras layer class, or the name under which Keras has it registered, such as
            `"keras_hub>CachedMultiHeadAttention"`. Layers of exactly this type are replaced: what
            a subclass changes nobody here knows.
        quant: A `QuantLayer` class that takes the configuration of `plain` and has its weights in
            its order, or a function that makes the Quant layer of a built plain one, with its
            weights, and raises a `ConversionError` with the reason where it can't.

    Raises:
        ValueError: for a class that is no `QuantLayer`, and for a type that has a row already.

    Example:

        >>> register_quant_layer(MyDense, QuantMyDense)
    """
    if isinstance(quant, type) and not issubclass(quant, QuantLayer):
        raise ValueError(f"{quant.__name__} must be a QuantLayer to stand in for another layer.")
    if plain in _QUANT_LAYERS:
        name = plain if isinstance(plain, str) else plain.__name__
        raise ValueError(f"{name} has a Quant layer already.")
    _QUANT_LAYERS[plain] = quant


def has_quant_layer(layer: keras.layers.Layer) -> bool:
    """Whether layers of exactly this type have a row."""
    return _row(type(layer)) is not None


def float_since_plain(layer: keras.layers.Layer) -> str:
    """Why a layer that multiplies and was not made a Quant layer stays float."""
    name = type(layer).__name__
    if not has_quant_layer(layer):
        return f"{name} has no INT8 form"
    return f"{name} is plain: quantize_model did not replace it"


def plain_parent(layer: keras.layers.Layer) -> type | None:
    """The class with a row that the class of `layer` inherits from, where it has none itself."""
    return next((base for base in type(layer).__mro__[1:] if _row(base) is not None), None)


def quant_layer_of(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The Quant layer of the settings, weights and path of a plain layer that has a row.

    Raises:
        ConversionError: with the reason alone, where there is none.
    """
    made = _row(type(layer))
    assert made is not None
    reason = _common_reason(layer)
    if reason:
        raise ConversionError(reason)
    new = same_settings(layer, made) if isinstance(made, type) else made(layer)
    reasons = new.unsupported_reasons() if isinstance(new, QuantLayer) else []
    if reasons:
        raise ConversionError("; ".join(reasons))
    return new


def rename(layer: keras.layers.Layer, path: str) -> None:
    """Gives a layer that was built on its own its path in a model, and all that it holds."""
    own = layer.path or layer.name
    for one in (part for inner in layers_of(layer) for part in (inner, *inner.variables)):
        # No public setter: Keras makes paths of the scopes that are open.
        if one.path is not None and (one.path == own or one.path.startswith(own + "/")):
            one._path = path + one.path[len(own) :]


def _row(layer_type: type) -> type | Maker | None:
    found = _QUANT_LAYERS.get(layer_type)
    if found is None and issubclass(layer_type, keras.layers.Layer):
        found = _QUANT_LAYERS.get(keras.saving.get_registered_name(layer_type))
    if found is None:
        found = next((make for is_one, make in _RECOGNIZED if is_one(layer_type)), None)
    return found


def _common_reason(layer: Any) -> str:
    """Why no layer of any type can be replaced in this state; empty if it can."""
    if not layer.built:
        return "it has no weights yet"
    for part in layers_of(layer):
        if part.quantization_mode is not None:
            return f"Keras' own {part.quantization_mode} quantization is on"
        if getattr(part, "lora_enabled", False):
            return "LoRA is on, which changes its weights as they are used"
    return ""
