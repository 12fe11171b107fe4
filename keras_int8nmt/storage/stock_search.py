"""A model's search in TensorFlow's own operations, with weights that a SavedModel can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.keras_engine.beam_search import SearchResult
from keras_int8nmt.keras_engine.engine import search_batch
from keras_int8nmt.layers.inference.frozen_attention import FrozenAttention
from keras_int8nmt.layers.model_state import layers_of
from keras_int8nmt.models.blocks import source_lengths
from keras_int8nmt.models.int8_transformer import Int8Transformer
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.ops.functions import stock_operations
from keras_int8nmt.runtime.search_options import SearchOptions


@dataclass(frozen=True)
class StockSearch:
    """The search of a model; to be traced under `stock_operations`.

    Attributes:
        weights: int8 `[rows, columns]` of each product, by names of their own: what is packed.
        variables: Everything else that a trace captures, as TensorFlow's variables.
        search: `(source_ids [b, s], packed) -> SearchResult`; `packed` are the packed weights by
            their names.
    """

    weights: dict[str, np.ndarray]
    variables: list[tf.Variable]
    search: Callable[[tf.Tensor, dict[str, tf.Tensor]], SearchResult]


def stock_search(model: Any, options: SearchOptions) -> StockSearch:
    """The search of a `Transformer` or an `Int8Transformer`, which is not changed."""
    if isinstance(model, Int8Transformer):
        return _of_converted(model, options)
    plain = plain_model(model)
    variables = [variable.value for variable in plain.variables]
    return StockSearch({}, variables, lambda ids, _: _search(plain, ids, options))


def _of_converted(model: Any, options: SearchOptions) -> StockSearch:
    copy = _stock_copy(model)
    weights: dict[str, np.ndarray] = {}
    variables: list[tf.Variable] = []
    # What a trace must find in place of a constant: an object, its attribute, and the value.
    packed_places: list[tuple[Any, str]] = []
    float_places: list[tuple[Any, str, tf.Variable]] = []
    with stock_operations():
        for holder, attribute in _large(copy):
            value = getattr(holder, attribute)
            if attribute == "packed":
                name = f"product_{len(weights)}"
                weights[name] = holder.kernel()
                packed_places.append((holder, name))
            else:
                variable = tf.Variable(value, trainable=False)
                variables.append(variable)
                float_places.append((holder, attribute, variable))

    def search(source_ids: tf.Tensor, packed: dict[str, tf.Tensor]) -> SearchResult:
        # Read here, outside the loop, once in a call.
        for product, name in packed_places:
            # Its size is that of the constant in its place.
            product.packed = tf.ensure_shape(packed[name], product.packed.shape)
        for holder, attribute, variable in float_places:
            setattr(holder, attribute, tf.convert_to_tensor(variable))
        return _search(copy, source_ids, options)

    return StockSearch(weights, variables, search)


def _search(model: Any, source_ids: tf.Tensor, options: SearchOptions) -> SearchResult:
    """The search over each row up to its last token; a call may have any number of pads beyond."""
    width = tf.reduce_max(tf.concat([[1], source_lengths(source_ids, model.pad_id)], 0))
    fits = tf.debugging.assert_less_equal(
        width, model.max_length, f"a sentence has more than {model.max_length} tokens"
    )
    # Without it the sum with the positions may be the first to fail.
    with tf.control_dependencies([fits]):
        source_ids = tf.identity(source_ids[:, :width])
    return search_batch(model, source_ids, options)


def _stock_copy(model: Any) -> Any:
    """The same model with its weights packed as stock operations read them."""
    copy = Int8Transformer.from_config(model.get_config())
    stored: list[dict[str, np.ndarray]] = []
    for layer in layers_of(model):
        store: dict[str, np.ndarray] = {}
        layer.save_own_variables(store)
        stored.append(store)
    with stock_operations():
        for layer, store in zip(layers_of(copy), stored, strict=True):
            if store:
                layer.load_own_variables(store)
    return copy


def _large(model: Any) -> list[tuple[Any, str]]:
    """The products and tables of a converted model, each with the attribute that is large."""
    found: list[tuple[Any, str]] = []
    for layer in layers_of(model):
        products: list[Any] = [getattr(layer, "_matmul", None)]
        if isinstance(layer, FrozenAttention):
            products = list(layer.products.values())
        for product in products:
            if product is not None:
                # A product with dynamic scales holds a packed one.
                inner = getattr(product, "_matmul", product)
                found.append((inner, "packed" if hasattr(inner, "packed") else "kernel"))
        if getattr(layer, "_table", None) is not None:
            found.append((layer, "_table"))
    return found
