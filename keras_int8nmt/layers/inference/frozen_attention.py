"""`FrozenAttention`: what `Int8Attention` and `MixedAttention` share, which is all but a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.dynamic_matmul import DynamicMatmul, Weights
from keras_int8nmt.layers.inference.float_matmul import FloatMatmul
from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    as_codes,
    optional_params,
    params_config,
    params_from_config,
)
from keras_int8nmt.layers.inference.packed_matmul import PackedMatmul, Section
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.ops.integer_rules import require_arithmetic
from keras_int8nmt.quantization import QuantParams

Params = QuantParams | dict[str, Any]
# A projection: the tensor that it lies in, and its first column there.
Projected = tuple[tf.Tensor, int]
Product = PackedMatmul | DynamicMatmul | FloatMatmul

PROJECTIONS = ("query", "key", "value")
# The MatMuls of an attention, by the names that they have in a conversion report.
MATMULS = (*PROJECTIONS, "QK", "AV", "attention_output")


class FrozenAttention(FrozenLayer):
    """Multi-head attention whose MatMuls are INT8 or float32, each as `precision` says.

    A leaf says `precision` and documents the arguments.
    """

    # What describes the numbers, all of it plain attributes: `precision` ("int8" or "float32" by
    # the names of MATMULS), `products` (by group, and "attention_output"), `groups`,
    # `input_params` (by the projections of one input), `head_params`, `context_params`,
    # `score_scale`, `context_scale`, `softmax`, `num_heads`, `key_dim`, `value_dim`,
    # `output_units`.
    precision: dict[str, str]

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        output_units: int,
        *,
        input_params: Mapping[str, Params | None],
        head_params: Mapping[str, Params],
        context_params: Params | None,
        softmax: str = "float",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.softmax = require_arithmetic("softmax", softmax)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.output_units = output_units
        # None where scales are dynamic.
        self.input_params: dict[str, Any] = {k: optional_params(v) for k, v in input_params.items()}
        self.head_params = {k: params_from_config(v) for k, v in head_params.items()}
        self.context_params: Any = optional_params(context_params)
        self._products: dict[str, Any] = {}
        self._output: Any = None

    @classmethod
    def from_kernels(
        cls,
        kernels: dict[str, Weights],
        output: Weights,
        *,
        per_channel: bool = True,
        weight_bits: int = 8,
        **kwargs: Any,
    ) -> Self:
        """From float weights.

        Args:
            kernels: `(kernel [d, columns], bias [columns] or None)` of "query", "key", "value".
            output: `(kernel [num_heads * value_dim, output_units], bias)`.
            per_channel: As in `quantize_weights`, for each of the kernels.
            weight_bits: Of the INT8 products, 8 or 7.
            **kwargs: The constructor's arguments, without `output_units`.
        """
        layer = cls(output_units=output[0].shape[1], **kwargs)
        rule = {"per_channel": per_channel, "weight_bits": weight_bits}
        for group in layer.groups:
            members = {name: kernels[name] for name in group.split("_")}
            layer._products[group] = layer._make_product(group, members, **rule)
        members = {"attention_output": output}
        layer._output = layer._make_product("attention_output", members, **rule)
        return layer

    def _make_product(self, group: str, members: dict[str, Weights], **rule: Any) -> Product:
        """The product of a group, or the output projection, of float weights by name.

        `rule`: how weights are quantized, see `PackedMatmul.from_float`.
        """
        if not self._is_int8(next(iter(members))):
            return FloatMatmul(*members[group])
        if group == "attention_output":
            return PackedMatmul.from_float([Section(*members[group])], self.context_params, **rule)
        sections = [Section(*weights, self.head_output(n)) for n, weights in members.items()]
        return PackedMatmul.from_float(sections, self.group_params(group), **rule)

    def _product_class(self, name: str) -> Any:
        """Of the product that `name` of MATMULS is in."""
        return PackedMatmul if self._is_int8(name) else FloatMatmul

    # ---- what is INT8, and the scales that follow ----

    def _is_int8(self, name: str) -> bool:
        """Whether `name` multiplies codes of calibrated scales."""
        return self.precision[name] == "int8"

    def _kind(self, name: str) -> str:
        """Projections of one input and one kind share a product."""
        return self._head_dtype(name) if self._is_int8(name) else name

    def _head_dtype(self, name: str) -> str:
        """How a projection is handed on: as its reader computes, whatever it computes in itself."""
        return self.precision["AV" if name == "value" else "QK"]

    def head_output(self, name: str) -> QuantParams | None:
        return self.head_params[name] if self._head_dtype(name) == "int8" else None

    @property
    def groups(self) -> tuple[str, ...]:
        """Which projections share a product, such as `("query", "key_value")`.

        The INT8 ones of one input that are written in one type do; a float one is by itself.
        """
        found: list[str] = []
        for names in self.input_params:
            parts: dict[str, list[str]] = {}
            for name in names.split("_"):
                parts.setdefault(self._kind(name), []).append(name)
            found.extend("_".join(part) for part in parts.values())
        return tuple(found)

    @property
    def products(self) -> dict[str, Product]:
        """The product of each group, and of "attention_output"."""
        return {**self._products, "attention_output": self._require(self._output)}

    def group_params(self, group: str) -> QuantParams:
        member = group.split("_")[0]
        return next(p for names, p in self.input_params.items() if member in names.split("_"))

    @property
    def score_scale(self) -> float:
        """Factor from dot products of queries and keys to scores, a float32 number."""
        step = 1.0
        if self._is_int8("QK"):
            step = 1.0 / float(self.head_params["query"].scale)
            step *= 1.0 / float(self.head_params["key"].scale)
        return float(np.float32(step / math.sqrt(self.key_dim)))

    @property
    def context_scale(self) -> float:
        """Factor from sums of probabilities times values to what is written, a float32 number."""
        # The probabilities are uint8 at the fixed scale 255 where AV is INT8.
        step = 1.0 / float(self.head_params["value"].scale) / 255.0 if self._is_int8("AV") else 1.0
        written = float(self.context_params.scale) if self._is_int8("attention_output") else 1.0
        return float(np.float32(step * written))

    # ---- projections and caches ----

    def _width(self, name: str) -> int:
        return self.num_heads * (self.value_dim if name == "value" else self.key_dim)

    def place_of(self, name: str) -> tuple[str, int]:
        """The group that `name` is in, and its first column there."""
        for group in self.groups:
            members = group.split("_")
            if name in members:
                return group, sum(self._width(m) for m in members[: members.index(name)])
        raise KeyError(name)

    def _project(self, inputs: dict[str, tf.Tensor]) -> dict[str, Projected]:
        """Each input's projection; one product per group and input."""
        done: dict[tuple[int, str], tf.Tensor] = {}
        projected = {}
        for name, x in inputs.items():
            group, column = self.place_of(name)
            if (id(x), group) not in done:
                done[id(x), group] = self._run_product(group, x)
            projected[name] = done[id(x), group], column
        return projected

    def _run_product(self, group: str, x: tf.Tensor) -> tf.Tensor:
        """The projections of `group`, side by side."""
        product = self._require(self._products.get(group))
        name = group.split("_")[0]
        dtype = self._head_dtype(name)
        if self._is_int8(name):
            return product(as_codes(x, self.group_params(group)), out_dtype=dtype)
        y = product(x)
        return y if dtype == "float32" else as_codes(y, self.head_params[name])

    def make_cache(self, batch: Any, capacity: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """An empty key/value cache of `capacity` positions."""
        keys, values = (
            tf.zeros((batch, capacity, self._width(name)), self._head_dtype(name))
            for name in ("key", "value")
        )
        return keys, values

    def compute_cache(
        self, value: tf.Tensor, key: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Keys and values of `value` (and `key`), for calls with `cache` and no `cache_index`."""
        projected = self._project({"key": value if key is None else key, "value": value})
        keys, values = (
            tensor[..., column : column + self._width(name)]
            for name, (tensor, column) in projected.items()
        )
        return keys, values

    # ---- the call ----

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
                f"{type(self).__name__} can't return attention scores; keep this layer in float "
                "for that."
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
        context = self._attend(
            projected["query"],
            keys,
            values,
            lengths=_all_or(key_lengths, keys[0]),
            mask=_merge_masks(
                query_mask, value_mask, key_mask, attention_mask, tf.shape(keys[0])[1]
            ),
            causal=use_causal_mask,
            offset=0 if cache_index is None else cache_index,
        )
        product = self._require(self._output)
        step = {"out_dtype": "float32"} if self._is_int8("attention_output") else {}
        output = product(context, **step)
        return output if cache is None else (output, cache)

    def _attend(
        self, query: Projected, keys: Projected, values: Projected, **settings: Any
    ) -> tf.Tensor:
        """The context, as the output projection reads it."""
        int8 = self._is_int8("attention_output")
        return ops.int8_attention(
            query[0],
            keys[0],
            values[0],
            num_heads=self.num_heads,
            head_dim=self.key_dim,
            value_dim=self.value_dim,
            scale=self.score_scale,
            softmax=self.softmax,
            out_scale=self.context_scale,
            out_zero_point=self.context_params.zero_point if int8 else 0,
            out_dtype=self.context_params.dtype if int8 else "float32",
            query_column=query[1],
            key_column=keys[1],
            value_column=values[1],
            **settings,
        )

    def compute_output_spec(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        output = keras.KerasTensor((*query.shape[:-1], self.output_units), dtype="float32")
        cache = kwargs.get("cache")
        return output if cache is None else (output, cache)

    # ---- saving ----

    def count_params(self) -> int:
        shapes = [p.shape for p in (*self._products.values(), self._require(self._output))]
        return sum(k * n + n for k, n in shapes)

    def save_own_variables(self, store: Any) -> None:
        for group in self.groups:
            self._require(self._products.get(group)).save(store, group + "_")
        self._require(self._output).save(store, "output_")

    def load_own_variables(self, store: Any) -> None:
        for group in self.groups:
            product = self._product_class(group.split("_")[0])
            self._products[group] = product.load(store, group + "_")
        self._output = self._product_class("attention_output").load(store, "output_")

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
            softmax=self.softmax,
        )
        return config


def _all_or(lengths: tf.Tensor | None, keys: tf.Tensor) -> tf.Tensor:
    """`lengths`, or every key of each batch entry."""
    if lengths is not None:
        return lengths
    shape = tf.shape(keys)
    return tf.fill(shape[:1], shape[1])


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
                "`attention_mask` must have rank 2 or 3, [t, s] or [b, t, s], in a converted "
                f"layer; received shape {merged.shape}."
            )
    if query_mask is not None and merged is None and value_mask is None and key_mask is None:
        merged = tf.ones((1, 1, num_keys), tf.bool)
    for mask, axis in ((value_mask, -2), (key_mask, -2), (query_mask, -1)):
        if mask is not None:
            expanded = tf.expand_dims(tf.cast(mask, tf.bool), axis)
            merged = expanded if merged is None else tf.logical_and(merged, expanded)
    return merged
