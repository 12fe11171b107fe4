"""`QuantT5MultiHeadAttention`: KerasHub's `T5MultiHeadAttention` plus its observers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.attention_math import known_rows, write_cache
from keras_int8nmt.layers.observed_attention import ObservedAttention
from keras_int8nmt.layers.observing.exported import product_output
from keras_int8nmt.layers.position_bias import BUCKETS, allowed, known_keys, position_bias


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantT5MultiHeadAttention(ObservedAttention, keras.layers.Layer):
    """KerasHub's `T5MultiHeadAttention` as a layer that can become INT8.

    It is called as that is, computes to the bit what that computes until told otherwise, and takes
    its place in KerasHub's T5 and its `generate`; KerasHub is not imported. Scores are not divided
    by the root of `key_value_dim`, and have a bias added, which stays float: relative positions,
    learned by the first layer of a stack, with the mask folded in. Observers are those of
    `QuantAttention`; keys that the bias masks for all queries are not observed. When simulating,
    all four projections, QK^T and AV compute with the values that int8 has, and the probabilities
    with those of uint8.

    Args:
        is_decoder: Whether relative positions are those of a decoder: none behind the query.
        hidden_dim: Size of the output.
        key_value_dim: Size of a head.
        num_heads: How many heads.
        dropout: Rate, of the probabilities.
        use_relative_attention_bias: Whether the layer has a table of relative positions.

    Call arguments:
        hidden_states: Float tensor `[b, t, d]`.
        mask: `[b, t or 1, s]`, 1 where a query may attend to a key; not heeded with
            `position_bias`, in which it is.
        key_value_states: Float tensor `[b, s, d]`; `hidden_states` by default.
        position_bias: `[b or 1, heads, t, s]`, as another layer gave it.
        cache: Float tensor `[b, 2, capacity, heads, key_value_dim]` of projected keys and values; s
            is then the capacity.
        cache_update_index: int32 scalar: the projections are written to the cache at positions from
            it on. Without it the cache is used as it is.
        training: Whether there is dropout.

    Returns:
        `(output, position_bias, cache)`: `[b, t, hidden_dim]`, the bias, and the cache or None.

    Raises:
        ValueError: for `cache_update_index` without `cache`.

    Example:

        >>> layer = QuantT5MultiHeadAttention(False, 16, 8, 2, 0.0, True)
        >>> output, bias, _ = layer(keras.ops.ones((1, 5, 16)))
        >>> output.shape, bias.shape
        ((1, 5, 16), (1, 2, 5, 5))
    """

    # In files of weights: see `load_plain_weights`.
    stands_for = "T5MultiHeadAttention"
    # It can be asked for nothing that INT8 can't do.
    depends_on_calls = False

    def __init__(
        self,
        is_decoder: bool,
        hidden_dim: int,
        key_value_dim: int,
        num_heads: int,
        dropout: float,
        use_relative_attention_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.is_decoder = is_decoder
        self.hidden_dim = hidden_dim
        self.key_value_dim = self.key_dim = self.value_dim = key_value_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.use_relative_attention_bias = use_relative_attention_bias
        inner = self.inner_dim = num_heads * key_value_dim
        self.query_projector = self._projector("query", inner, (inner * key_value_dim) ** -0.5)
        self.key_projector = self._projector("key", inner, inner**-0.5)
        self.value_projector = self._projector("value", inner, inner**-0.5)
        self.output_projector = self._projector("output", hidden_dim, inner**-0.5)
        self.dropout_layer = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.relative_attention_bias: Any = None
        self.add_observers()

    def _projector(self, name: str, units: int, deviation: float) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(mean=0, stddev=deviation),
            dtype=self.dtype_policy,
            name=f"{name}_projector",
        )

    def build(self, hidden_states_shape: Any, key_value_states_shape: Any = None) -> None:
        if self.use_relative_attention_bias:
            self.relative_attention_bias = self.add_weight(
                name="embeddings",
                shape=(BUCKETS, self.num_heads),
                initializer=keras.initializers.RandomNormal(mean=0, stddev=self.inner_dim**-0.5),
            )
        given = key_value_states_shape or hidden_states_shape
        self.query_projector.build(hidden_states_shape)
        self.key_projector.build(given)
        self.value_projector.build(given)
        self.output_projector.build((*hidden_states_shape[:-1], self.inner_dim))
        heads = self.num_heads
        self.build_observers(hidden_states_shape, given, None, heads, heads)
        self.built = True

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: `mask` is about pairs of positions, and not the mask of the output."""

    def dense_layers(self) -> tuple[Any, ...]:
        # By their names in KerasHub alone: Keras' files know a layer by its first attribute.
        query, key, value = self.query_projector, self.key_projector, self.value_projector
        return query, key, value, self.output_projector

    def layer_reasons(self) -> list[str]:
        if self.built and any(d.quantization_mode is not None for d in self.dense_layers()):
            return ["Keras' own quantization is on"]
        return []

    def project(self, dense: Any, x: Any, kernel: Callable[[Any, int], Any], summed: int) -> Any:
        """`[b, t, heads, dim]` of an input, or the output of a context of that shape."""
        if summed > 1:
            x = ops.reshape(x, (*ops.shape(x)[:2], self.inner_dim))
        if self.layer_reasons():
            y = dense(x)
        else:
            y = product_output(dense, "", ops.matmul(x, kernel(dense.kernel, 1)))
        if summed > 1:
            return y
        return ops.reshape(y, (*ops.shape(y)[:2], self.num_heads, self.key_value_dim))

    def call(
        self,
        hidden_states: Any,
        mask: Any = None,
        key_value_states: Any = None,
        position_bias: Any = None,
        cache: Any = None,
        cache_update_index: Any = None,
        training: Any = False,
    ) -> Any:
        if cache is None and cache_update_index is not None:
            raise ValueError("`cache_update_index` needs `cache`: the keys and values to write to.")
        given = hidden_states if key_value_states is None else key_value_states
        length = ops.shape(given)[1] if cache is None else ops.shape(cache)[2]
        if position_bias is None:
            position_bias = self._new_bias(hidden_states, length, mask, cache_update_index)
        # The mask over the new keys, made only where something observes; a cache has others, too.
        new_keys = partial(known_keys, position_bias) if cache is None else (lambda: None)
        rows = new_keys if given is hidden_states else (lambda: None)
        x, q = self.project_query(hidden_states, rows)
        q = self.query.watch(q, rows)
        if cache is None:
            keys, values = self.project_key_value(hidden_states, x, given, None, new_keys)
        else:
            keys, values = cache[:, 0, ...], cache[:, 1, ...]
            if cache_update_index is not None:
                updates = self.project_key_value(hidden_states, x, given, None, new_keys)
                keys = write_cache(keys, updates[0], cache_update_index)
                values = write_cache(values, updates[1], cache_update_index)
                cache = ops.stack((keys, values), axis=1)
        context = self._context(q, keys, values, position_bias, training)
        output = self.project_output(context, lambda: known_rows(allowed(position_bias), rows))
        return output, position_bias, cache

    def _new_bias(self, queries: Any, keys: Any, mask: Any, index: Any) -> Any:
        return position_bias(
            self.relative_attention_bias,
            self.num_heads,
            ops.shape(queries)[1],
            keys,
            0 if index is None else index,
            mask,
            bidirectional=not self.is_decoder,
            dtype=self.compute_dtype,
        )

    def _context(self, query: Any, keys: Any, values: Any, bias: Any, training: Any) -> Any:
        """The context `[b, t, heads, dim]`, by the parent's steps."""
        products = partial(product_output, self)
        scores = products("QK", ops.einsum("bqnd,bknd->bnqk", query, keys))
        scores = ops.softmax(scores + ops.cast(bias, scores.dtype), axis=-1)
        # In 16 bits the steps of uint8 would be rounded.
        exact = keras.backend.result_type(scores.dtype, "float32")
        probabilities = self.watch_probabilities(ops.cast(scores, exact))
        probabilities = ops.cast(probabilities, scores.dtype)
        probabilities = self.dropout_layer(probabilities, training=training)
        return products("AV", ops.einsum("bnqk,bknd->bqnd", probabilities, values))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "is_decoder": self.is_decoder,
            "hidden_dim": self.hidden_dim,
            "key_value_dim": self.key_value_dim,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "use_relative_attention_bias": self.use_relative_attention_bias,
        }
