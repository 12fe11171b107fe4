"""Parts of the float Transformer: positions, lengths, one encoder and one decoder block.

`keras.ops` only, so that a model trains on TensorFlow and on JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.models.plain_attention import cached_attention, compute_cache, make_cache

Cache = tuple[Any, Any]


def source_lengths(ids: Any, pad_id: int) -> Any:
    """Number of tokens up to the last that is not padding, int32 `[b]`; at least 1.

    Padding inside a sentence counts as a token. A row of padding alone is one token long, so that
    every sentence has something to attend to.
    """
    numbers = ops.arange(1, ops.shape(ids)[1] + 1, dtype="int32")
    real = ops.cast(ops.not_equal(ids, pad_id), "int32")
    return ops.maximum(ops.max(real * numbers, axis=1), 1)


def length_mask(lengths: Any, length: Any) -> Any:
    """bool `[b, length]`, true at the first `lengths[b]` positions."""
    return ops.arange(length, dtype="int32") < ops.expand_dims(lengths, 1)


class _Block(keras.layers.Layer):
    """What both blocks share: settings, the feed-forward part and the residual sums.

    Args:
        model_dim: Width of the residual stream.
        num_heads: Attention heads; divides `model_dim`.
        ffn_dim: Width between the two feed-forward layers.
        activation: Activation after the first of them.
        norm: `"post"`: `norm(x + f(x))` as in the paper; `"pre"`: `x + f(norm(x))`.
        dropout: Rate on the output of each sub-layer.
        layer_norm_epsilon: Added to the variance.
        quant: Whether the sub-layers are `QuantDense` and `QuantAttention` or plain Keras layers.
    """

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        ffn_dim: int,
        *,
        activation: str = "relu",
        norm: str = "post",
        dropout: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        quant: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = {
            "model_dim": model_dim,
            "num_heads": num_heads,
            "ffn_dim": ffn_dim,
            "activation": activation,
            "norm": norm,
            "dropout": dropout,
            "layer_norm_epsilon": layer_norm_epsilon,
            "quant": quant,
        }
        self.model_dim, self.ffn_dim = model_dim, ffn_dim
        self.pre_norm, self.quant = norm == "pre", quant
        dense = QuantDense if quant else keras.layers.Dense
        self.ffn_in = dense(ffn_dim, activation=activation, name="ffn_in", dtype=self.dtype_policy)
        self.ffn_out = dense(model_dim, name="ffn_out", dtype=self.dtype_policy)
        self.ffn_norm = self._norm("ffn_norm")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def _attention(self, name: str) -> keras.layers.MultiHeadAttention:
        layer = QuantAttention if self.quant else keras.layers.MultiHeadAttention
        heads: Any = self.settings["num_heads"]
        return layer(heads, self.model_dim // heads, name=name, dtype=self.dtype_policy)

    def _norm(self, name: str) -> keras.layers.LayerNormalization:
        return keras.layers.LayerNormalization(
            epsilon=self.settings["layer_norm_epsilon"], name=name, dtype=self.dtype_policy
        )

    def build(self, input_shape: Any = None) -> None:
        shape = (None, None, self.model_dim)
        for name in self.attentions:
            getattr(self, name).build(shape, shape)
            getattr(self, name + "_norm").build(shape)
        self.ffn_in.build(shape)
        self.ffn_out.build((None, None, self.ffn_dim))
        self.ffn_norm.build(shape)

    attentions: tuple[str, ...] = ()

    def residual(
        self, x: Any, norm: Any, function: Callable[[Any], Any], training: bool | None
    ) -> Any:
        """`x` plus what `function` makes of it, normalized before or after."""
        if self.pre_norm:
            return x + self.dropout(function(norm(x)), training=training)
        return norm(x + self.dropout(function(x), training=training))

    def feed_forward(self, x: Any, token_mask: Any, training: bool | None) -> Any:
        # A plain Dense has nothing to count, and no argument for what not to count.
        seen = {"mask": token_mask} if self.quant else {}

        def function(y: Any) -> Any:
            return self.ffn_out(self.ffn_in(y, **seen), **seen)

        return self.residual(x, self.ffn_norm, function, training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class EncoderBlock(_Block):
    """Self-attention and feed-forward part of the encoder.

    Args:
        The arguments of `DecoderBlock`.

    Call arguments:
        x: `[b, s, d]`.
        token_mask: bool `[b, s]`, true at real tokens: the others are neither attended to nor
            observed.

    Returns:
        `[b, s, d]`.
    """

    attentions = ("attention",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attention = self._attention("attention")
        self.attention_norm = self._norm("attention_norm")

    def call(self, x: Any, token_mask: Any = None, training: bool | None = None) -> Any:
        def attend(y: Any) -> Any:
            return self.attention(y, y, value_mask=token_mask, training=training)

        x = self.residual(x, self.attention_norm, attend, training)
        return self.feed_forward(x, token_mask, training)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class DecoderBlock(_Block):
    """Causal self-attention, cross-attention and feed-forward part of the decoder.

    Args:
        model_dim: Width of the residual stream.
        num_heads: Attention heads; divides `model_dim`.
        ffn_dim: Width between the two feed-forward layers.
        activation: Activation after the first of them.
        norm: `"post"` or `"pre"`.
        dropout: Rate on the output of each sub-layer.
        layer_norm_epsilon: Added to the variance.
        quant: Whether the sub-layers are `QuantDense` and `QuantAttention`.

    Call arguments:
        x: `[b, t, d]`.
        memory: The encoder's output, `[b, s, d]`.
        memory_mask: bool `[b, s]`, true at real tokens.
        token_mask: bool `[b, t]`: false at padding that is not to be observed (nor attended to).

    Returns:
        `[b, t, d]`.
    """

    attentions = ("self_attention", "cross_attention")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.self_attention = self._attention("self_attention")
        self.self_attention_norm = self._norm("self_attention_norm")
        self.cross_attention = self._attention("cross_attention")
        self.cross_attention_norm = self._norm("cross_attention_norm")

    def call(
        self,
        x: Any,
        memory: Any,
        memory_mask: Any = None,
        token_mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        def attend(y: Any) -> Any:
            return self.self_attention(
                y, y, value_mask=token_mask, use_causal_mask=True, training=training
            )

        def attend_across(y: Any) -> Any:
            return self.cross_attention(
                y, memory, query_mask=token_mask, value_mask=memory_mask, training=training
            )

        x = self.residual(x, self.self_attention_norm, attend, training)
        x = self.residual(x, self.cross_attention_norm, attend_across, training)
        return self.feed_forward(x, token_mask, training)

    def make_self_cache(self, rows: Any, capacity: Any) -> Cache:
        """Room for `capacity` positions of `rows` hypotheses."""
        return make_cache(self.self_attention, rows, capacity)

    def compute_cross_cache(self, memory: Any, mask: Any = None) -> Cache:
        """Keys and values of the encoded source, computed once a sentence."""
        return compute_cache(self.cross_attention, memory, mask)

    def step(
        self,
        x: Any,
        index: Any,
        self_cache: Cache,
        cross_cache: Cache,
        memory_mask: Any,
        counted: Any = None,
    ) -> tuple[Any, Cache]:
        """One position of all beams.

        Args:
            x: `[b, beam, d]`.
            index: int32 scalar, the position.
            self_cache: Keys and values `[b * beam, capacity, heads, dim]` of earlier positions.
            cross_cache: Keys and values `[b, s, heads, dim]`, shared by the beams of a sentence.
            memory_mask: bool `[b, s]`.
            counted: bool `[b, beam]`: which hypotheses are observed; by default all. The output of
                the others is undefined.

        Returns:
            `[b, beam, d]` and the self cache with this position in it.
        """
        shape = ops.shape(x)
        rows = None if counted is None else ops.reshape(counted, (-1, 1))
        caches = []

        def attend(y: Any) -> Any:
            y = ops.reshape(y, (-1, 1, self.model_dim))
            y, cache = cached_attention(self.self_attention, y, y, self_cache, index, counted=rows)
            caches.append(cache)
            return ops.reshape(y, shape)

        def attend_across(y: Any) -> Any:
            return cached_attention(
                self.cross_attention,
                y,
                None,
                cross_cache,
                value_mask=memory_mask,
                counted=counted,
            )[0]

        x = self.residual(x, self.self_attention_norm, attend, False)
        x = self.residual(x, self.cross_attention_norm, attend_across, False)
        return self.feed_forward(x, counted, False), caches[0]
