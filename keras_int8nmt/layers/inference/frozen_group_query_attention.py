"""`FrozenGroupQueryAttention`: what `QuantGroupQueryAttention` becomes; inference only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.attention_scales import (
    Params,
    read_any_scales,
    scales_config,
)
from keras_int8nmt.layers.inference.frozen_attention import (
    FrozenAttention,
    all_keys,
    as_float32_each,
    merge_masks,
)
from keras_int8nmt.runtime.model_spec import NotDescribableError, Part


def by_repeats(columns: np.ndarray, groups: int, repeats: int) -> np.ndarray:
    """Columns of query heads, their last axis, in the order in which the frozen layer has them.

    In the float layer those of one group lie side by side: `[..., groups * repeats * dim]`. Here
    the groups do, `[..., repeats * groups * dim]`, so that a row of queries is a row for each of
    the heads that share keys, without anything being moved.
    """
    apart = columns.reshape(*columns.shape[:-1], groups, repeats, -1)
    return apart.swapaxes(-3, -2).reshape(columns.shape)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FrozenGroupQueryAttention(FrozenAttention):
    """Attention whose heads of queries share heads of keys and values; inference only.

    Made by `convert` from a `QuantGroupQueryAttention`. Each MatMul is INT8 or float32 by itself,
    as in `MixedAttention`; with dynamic scales as in `DynamicAttention`. Keys and values are
    neither repeated nor copied.

    Args:
        num_heads: Heads of keys and values.
        key_dim, value_dim: Size of a head.
        output_units: Columns of the output projection.
        repeats: Heads of queries for each of `num_heads`.
        precision: "int8" or "float32" of each of "query", "key", "value", "QK", "AV" and
            "attention_output".
        input_params: `QuantParams` of each input, by the projections that read it; None where
            scales are dynamic.
        head_params: `QuantParams` (int8, zero point 0) of "query", "key" and "value"; empty where
            scales are dynamic.
        context_params: `QuantParams` of the output projection's input; None likewise.
        softmax: "float", or "integer" as in `integer_rules`.

    Call arguments:
        Those of `keras.layers.GroupQueryAttention`.

    Returns:
        As `Int8Attention`.

    Raises:
        ValueError: as `Int8Attention`.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        output_units: int,
        *,
        repeats: int,
        precision: Mapping[str, str],
        input_params: Mapping[str, Params | None],
        head_params: Mapping[str, Params],
        context_params: Params | None = None,
        softmax: str = "float",
        **kwargs: Any,
    ) -> None:
        scales = read_any_scales(input_params, head_params, context_params)
        sizes = num_heads, key_dim, value_dim, dict(precision)
        plan = AttentionPlan(*sizes, softmax=softmax, repeats=repeats, **scales)
        super().__init__(plan, output_units, **kwargs)

    def call(  # type: ignore[override]
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
    ) -> Any:
        self.refuse_scores(return_attention_scores)
        core = self.core
        query, value, key = as_float32_each(query, value, value if key is None else key)
        projected = core.project({"query": query, "key": key, "value": value})
        keys = projected["key"]
        length = tf.shape(keys.tensor)[1]
        mask = merge_masks(query_mask, value_mask, key_mask, attention_mask, length)
        if use_causal_mask:
            rows = tf.range(tf.shape(query)[1])
            causal = (rows[:, None] >= tf.range(length)[None, :])[None]
            mask = causal if mask is None else tf.logical_and(mask, causal)
        output = core.attend(
            projected["query"],
            keys,
            projected["value"],
            lengths=all_keys(keys.tensor),
            mask=mask,
            causal=False,
            offset=0,
        )
        return self.given(output)

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`: there is none."""
        raise NotDescribableError("The native decoder has no attention of grouped queries.")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **scales_config(self.plan),
            "precision": self.precision,
            "repeats": self.plan.repeats,
        }
