"""`FrozenAttention`: how Keras calls a frozen attention; what is computed is in its core."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Self

import keras
import tensorflow as tf

from keras_int8nmt.layers.inference.attention_core import AttentionCore, Projected
from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.dynamic_matmul import Weights
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer, as_float32
from keras_int8nmt.layers.inference.product_plan import Product
from keras_int8nmt.layers.keras_masks import take_masks, with_mask
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import Part


class FrozenAttention(FrozenLayer):
    """Multi-head attention that holds an `AttentionCore`.

    A leaf makes the plan of its arguments, documents these and writes them into its config.

    Attributes:
        plan: Sizes, precisions and scales.
        core: The plan and the products; there once the layer has weights.
        num_heads, key_dim, value_dim, softmax: As in the plan.
        output_units: Columns of the output projection.
    """

    def __init__(self, plan: AttentionPlan, output_units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.num_heads = plan.num_heads
        self.key_dim = plan.key_dim
        self.value_dim = plan.value_dim
        self.softmax = plan.softmax
        self.output_units = output_units
        self._core: AttentionCore | None = None

    @classmethod
    def from_kernels(
        cls,
        kernels: Mapping[str, Weights],
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
        layer._core = AttentionCore.from_float(layer.plan, kernels, output, **rule)
        return layer

    @property
    def core(self) -> AttentionCore:
        """Plan and products."""
        return self._require(self._core)

    @property
    def precision(self) -> dict[str, str]:
        """ "int8" or "float32" of each MatMul."""
        return dict(self.plan.precision)

    @property
    def precisions(self) -> set[str]:
        return set(self.precision.values())

    @property
    def groups(self) -> tuple[str, ...]:
        """Which projections share a product, such as `("query", "key_value")`."""
        return tuple(str(group) for group in self.plan.projections)

    @property
    def products(self) -> dict[str, Product]:
        """The product of each group, and of "attention_output"."""
        products = {str(group): product for group, product in self.core.projections.items()}
        return {**products, "attention_output": self.core.output}

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`."""
        return self.core.spec(packed)

    def code_inputs(self, given: Collection[str]) -> dict[str, QuantParams]:
        reads = {
            name: params
            for group, params in self.plan.inputs.items()
            for name in group.names
            if params is not None and self.plan.is_int8(name)
        }
        if "key" not in given:
            # `value` is what both project.
            key = reads.pop("key", None)
            if key != reads.get("value"):
                reads.pop("value", None)
        return reads

    # ---- caches and the call ----

    def make_cache(self, batch: Any, capacity: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """An empty key/value cache of `capacity` positions."""
        return self.plan.make_cache(batch, capacity)

    def compute_cache(
        self, value: tf.Tensor, key: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Keys and values of `value` (and `key`), for calls with `cache` and no `cache_index`."""
        core = self.core
        value, key = as_float32_each(value, value if key is None else key)
        projected = core.project({"key": key, "value": value})
        return core.cut("key", projected["key"]), core.cut("value", projected["value"])

    def refuse_scores(self, asked: bool) -> None:
        """Raises a ValueError where a call asks for scores: the kernel hands none out."""
        if asked:
            raise ValueError(
                f"{type(self).__name__} can't return attention scores; keep this layer in float "
                "for that, as convert() does in a model that was called or calibrated before."
            )

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
        self.refuse_scores(return_attention_scores)
        core = self.core
        # As in `QuantAttention`: the argument would tell what is observed.
        query_mask = take_masks(query, value, key)
        query, value, key = as_float32_each(query, value, value if key is None else key)
        if cache is not None:
            cache = (as_float32(cache[0]), as_float32(cache[1]))
        if cache is not None and cache_index is None:
            projected = core.project({"query": query})
            keys, values = Projected(cache[0]), Projected(cache[1])
        else:
            projected = core.project({"query": query, "key": key, "value": value})
            keys, values = projected["key"], projected["value"]
            if cache is not None:
                appended = [
                    ops.cache_append(old, new, cache_index, column=column)
                    for old, (new, column) in zip(cache, (keys, values), strict=True)
                ]
                cache = (appended[0], appended[1])
                keys, values = Projected(cache[0]), Projected(cache[1])
                if key_lengths is None and not use_causal_mask:
                    filled = tf.cast(cache_index, tf.int32) + tf.shape(value)[1]
                    key_lengths = tf.fill(tf.shape(keys.tensor)[:1], filled)
        output = core.attend(
            projected["query"],
            keys,
            values,
            lengths=all_keys(keys.tensor) if key_lengths is None else key_lengths,
            mask=merge_masks(
                query_mask, value_mask, key_mask, attention_mask, tf.shape(keys.tensor)[1]
            ),
            causal=use_causal_mask,
            offset=0 if cache_index is None else cache_index,
        )
        output = with_mask(self.given(output), query_mask)
        return output if cache is None else (output, cache)

    def compute_output_spec(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        output = keras.KerasTensor((*query.shape[:-1], self.output_units), dtype=self.float_type)
        cache = kwargs.get("cache")
        return output if cache is None else (output, cache)

    # ---- saving ----

    def save_own_variables(self, store: Any) -> None:
        self.core.save(store)

    def load_own_variables(self, store: Any) -> None:
        self._core = AttentionCore.load(self.plan, store)

    def get_config(self) -> dict[str, Any]:
        """What every leaf has; each adds its own."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "output_units": self.output_units,
            "softmax": self.softmax,
        }


def as_float32_each(*inputs: Any) -> list[Any]:
    """`as_float32` of each; one tensor stays one, since that shares a product."""
    done = {id(x): None if x is None else as_float32(x) for x in inputs}
    return [done[id(x)] for x in inputs]


def all_keys(keys: tf.Tensor) -> tf.Tensor:
    """Lengths that allow every key of each batch entry."""
    shape = tf.shape(keys)
    return tf.fill(shape[:1], shape[1])


def merge_masks(
    query_mask: Any = None,
    value_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    num_keys: Any = None,
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
