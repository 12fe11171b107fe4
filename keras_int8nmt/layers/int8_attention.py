"""`Int8Attention`: what `QuantAttention` becomes; inference only."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt import ops
from keras_int8nmt.layers.frozen_layer import (
    FrozenLayer,
    as_codes,
    params_config,
    params_from_config,
)
from keras_int8nmt.layers.packed_matmul import PackedMatmul, Section
from keras_int8nmt.quantization import QuantParams

Params = QuantParams | dict[str, Any]


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8Attention(FrozenLayer):
    """Multi-head attention with INT8 projections, INT8 QK^T and INT8 AV; softmax in float32.

    Made by `convert` from a calibrated `QuantAttention`. The projections write int8 Q, K and V; the
    probabilities are uint8 with scale 255; the context is written as codes for the output
    projection. Projections of one input come from one product: `groups` says which, for example
    `("query_key_value",)` for self-attention and `("query", "key_value")` for cross-attention.

    Args:
        num_heads, key_dim, value_dim: As in `keras.layers.MultiHeadAttention`.
        output_units: Columns of the output projection.
        input_params: `QuantParams` of each group's input, by group name.
        head_params: `QuantParams` (int8, zero point 0) of "query", "key" and "value".
        context_params: `QuantParams` of the output projection's input.

    Call arguments:
        The ones of `QuantAttention`. `query`, `value` and `key` are float32 or codes `[b, t, d]`.
        A cache is a pair of int8 tensors `[b, capacity, num_heads * key_dim]` and
        `[b, capacity, num_heads * value_dim]`, see `make_cache` and `compute_cache`.
        key_lengths: int32 `[b]`, keyword-only: keys from this position on are not allowed; cheaper
            than a mask.

    Returns:
        float32 `[b, t, output_units]`, or `(output, cache)` when a cache is given. A row with no
        allowed key attends to nothing: its context is zero.

    Raises:
        ValueError: for `return_attention_scores=True` and for a mask of rank 4 (one a head), which
            the INT8 kernel does not know.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        output_units: int,
        *,
        input_params: dict[str, Params],
        head_params: dict[str, Params],
        context_params: Params,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.output_units = output_units
        self.input_params = {k: params_from_config(v) for k, v in input_params.items()}
        self.head_params = {k: params_from_config(v) for k, v in head_params.items()}
        self.context_params = params_from_config(context_params)
        self._products: dict[str, PackedMatmul] = {}
        self._output: PackedMatmul | None = None
        inv = {k: 1.0 / float(v.scale) for k, v in self.head_params.items()}
        self._score_scale = float(np.float32(inv["query"] * inv["key"] / math.sqrt(key_dim)))
        self._context_scale = float(
            np.float32(inv["value"] / 255.0 * float(self.context_params.scale))
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """Which projections share a product, such as `("query", "key_value")`."""
        return tuple(self.input_params)

    @classmethod
    def from_kernels(
        cls, kernels: dict[str, tuple[Any, Any]], output: tuple[Any, Any], **kwargs: Any
    ) -> Int8Attention:
        """From float weights.

        Args:
            kernels: `(kernel [d, columns], bias [columns] or None)` of "query", "key", "value".
            output: `(kernel [num_heads * value_dim, output_units], bias)`.
            **kwargs: The constructor's arguments, without `output_units`.
        """
        layer = cls(output_units=output[0].shape[1], **kwargs)
        for group, params in layer.input_params.items():
            sections = [Section(*kernels[n], layer.head_params[n]) for n in group.split("_")]
            layer._products[group] = PackedMatmul.from_float(sections, params)
        layer._output = PackedMatmul.from_float([Section(*output)], layer.context_params)
        return layer

    def _columns(self, name: str) -> tuple[str, int]:
        """The group that `name` is in, and its first column there."""
        widths = {"query": self.key_dim, "key": self.key_dim, "value": self.value_dim}
        for group in self.groups:
            members = group.split("_")
            if name in members:
                before = members[: members.index(name)]
                return group, self.num_heads * sum(widths[m] for m in before)
        raise KeyError(name)

    def _project(self, inputs: dict[str, tf.Tensor]) -> dict[str, tuple[tf.Tensor, int]]:
        """Each input's projection as `(codes, first column)`; one product per group and input."""
        done: dict[tuple[int, str], tf.Tensor] = {}
        projected = {}
        for name, x in inputs.items():
            group, column = self._columns(name)
            if (id(x), group) not in done:
                product = self._require(self._products.get(group))
                codes = as_codes(x, self.input_params[group])
                done[id(x), group] = product(codes, out_dtype="int8")
            projected[name] = done[id(x), group], column
        return projected

    def make_cache(self, batch: Any, capacity: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """An empty key/value cache of `capacity` positions."""
        return (
            tf.zeros((batch, capacity, self.num_heads * self.key_dim), tf.int8),
            tf.zeros((batch, capacity, self.num_heads * self.value_dim), tf.int8),
        )

    def compute_cache(
        self, value: tf.Tensor, key: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Keys and values of `value` (and `key`), for calls with `cache` and no `cache_index`."""
        projected = self._project({"key": value if key is None else key, "value": value})
        widths = {"key": self.key_dim, "value": self.value_dim}
        cut = []
        for name, (codes, column) in projected.items():
            cut.append(codes[..., column : column + self.num_heads * widths[name]])
        return cut[0], cut[1]

    def call(
        self,
        query: tf.Tensor,
        value: tf.Tensor,
        key: tf.Tensor | None = None,
        query_mask: tf.Tensor | None = None,
        value_mask: tf.Tensor | None = None,
        key_mask: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        cache: tuple[tf.Tensor, tf.Tensor] | None = None,
        cache_index: Any = None,
        key_lengths: tf.Tensor | None = None,
    ) -> Any:
        if return_attention_scores:
            raise ValueError(
                "Int8Attention can't return attention scores; keep this layer in float for that."
            )
        key = value if key is None else key
        if cache is not None and cache_index is None:
            projected = self._project({"query": query})
            keys, values = (cache[0], 0), (cache[1], 0)
        else:
            projected = self._project({"query": query, "key": key, "value": value})
            keys, values = projected["key"], projected["value"]
            if cache is not None:
                appended = [
                    ops.cache_append(old, new, cache_index, column=column)
                    for old, (new, column) in zip(cache, (keys, values), strict=True)
                ]
                cache = (appended[0], appended[1])
                keys, values = (cache[0], 0), (cache[1], 0)
                if key_lengths is None and not use_causal_mask:
                    filled = tf.cast(cache_index, tf.int32) + tf.shape(value)[1]
                    key_lengths = tf.fill(tf.shape(keys[0])[:1], filled)
        context = ops.int8_attention(
            projected["query"][0],
            keys[0],
            values[0],
            self._lengths(key_lengths, keys[0]),
            mask=_merge_masks(
                query_mask, value_mask, key_mask, attention_mask, tf.shape(keys[0])[1]
            ),
            num_heads=self.num_heads,
            head_dim=self.key_dim,
            value_dim=self.value_dim,
            scale=self._score_scale,
            out_scale=self._context_scale,
            out_zero_point=self.context_params.zero_point,
            out_dtype=self.context_params.dtype,
            causal=use_causal_mask,
            offset=0 if cache_index is None else cache_index,
            query_column=projected["query"][1],
            key_column=keys[1],
            value_column=values[1],
        )
        output = self._require(self._output)(context, out_dtype="float32")
        return output if cache is None else (output, cache)

    @staticmethod
    def _lengths(lengths: tf.Tensor | None, keys: tf.Tensor) -> tf.Tensor:
        if lengths is not None:
            return lengths
        shape = tf.shape(keys)
        return tf.fill(shape[:1], shape[1])

    def compute_output_spec(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        output = keras.KerasTensor((*query.shape[:-1], self.output_units), dtype="float32")
        cache = kwargs.get("cache")
        return output if cache is None else (output, cache)

    def count_params(self) -> int:
        shapes = [p.shape for p in (*self._products.values(), self._require(self._output))]
        return sum(k * n + n for k, n in shapes)

    def save_own_variables(self, store: Any) -> None:
        for group in self.groups:
            self._require(self._products.get(group)).save(store, group + "_")
        self._require(self._output).save(store, "output_")

    def load_own_variables(self, store: Any) -> None:
        for group in self.groups:
            self._products[group] = PackedMatmul.load(store, group + "_")
        self._output = PackedMatmul.load(store, "output_")

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            num_heads=self.num_heads,
            key_dim=self.key_dim,
            value_dim=self.value_dim,
            output_units=self.output_units,
            input_params={k: params_config(v) for k, v in self.input_params.items()},
            head_params={k: params_config(v) for k, v in self.head_params.items()},
            context_params=params_config(self.context_params),
        )
        return config


def _merge_masks(
    query_mask: Any, value_mask: Any, key_mask: Any, attention_mask: Any, num_keys: Any
) -> tf.Tensor | None:
    """All masks as one bool `[b or 1, t or 1, s]`, or None; the rule of `MultiHeadAttention`."""
    merged = None
    if attention_mask is not None:
        merged = tf.cast(attention_mask, tf.bool)
        if merged.shape.rank == 2:
            merged = merged[None]
        if merged.shape.rank != 3:
            raise ValueError(
                "`attention_mask` must have rank 2 or 3, [t, s] or [b, t, s], in an INT8 layer; "
                f"received shape {merged.shape}."
            )
    if query_mask is not None and merged is None and value_mask is None and key_mask is None:
        merged = tf.ones((1, 1, num_keys), tf.bool)
    for mask, axis in ((value_mask, -2), (key_mask, -2), (query_mask, -1)):
        if mask is not None:
            expanded = tf.expand_dims(tf.cast(mask, tf.bool), axis)
            merged = expanded if merged is None else tf.logical_and(merged, expanded)
    return merged
