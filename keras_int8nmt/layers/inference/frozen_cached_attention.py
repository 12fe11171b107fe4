"""`FrozenCachedAttention`: what `QuantCachedMultiHeadAttention` becomes; inference only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.attention_scales import (
    Params,
    read_any_scales,
    scales_config,
)
from keras_int8nmt.layers.inference.callers_cache import project_with_cache
from keras_int8nmt.layers.inference.frozen_attention import (
    FrozenAttention,
    all_keys,
    as_float32_each,
    merge_masks,
)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FrozenCachedAttention(FrozenAttention):
    """Attention over a cache that its caller keeps, as KerasHub's decoders do; inference only.

    Made by `convert` from a `QuantCachedMultiHeadAttention`. Each MatMul is INT8 or float32 by
    itself, as in `MixedAttention`; with dynamic scales as in `DynamicAttention`. The cache is
    float, since its caller makes it; keys and values that INT8 products read are written as the
    numbers that their codes stand for, so that a step by step search gives what one call gives.

    Args:
        num_heads, key_dim, value_dim: As in `keras.layers.MultiHeadAttention`.
        output_units: Columns of the output projection.
        precision: "int8" or "float32" of each of "query", "key", "value", "QK", "AV" and
            "attention_output".
        input_params: `QuantParams` of each input, by the projections that read it; None where
            scales are dynamic.
        head_params: `QuantParams` (int8, zero point 0) of "query", "key" and "value"; empty where
            scales are dynamic.
        context_params: `QuantParams` of the output projection's input; None likewise.
        softmax: "float", or "integer" as in `integer_rules`.

    Call arguments:
        Those of `QuantCachedMultiHeadAttention`.

    Returns:
        `[b, t, output_units]`, or `(output, cache)` with a cache. A row with no allowed key attends
        to nothing: its context is zero.

    Raises:
        ValueError: for `return_attention_scores=True`, for `cache_update_index` without `cache`,
            and for a mask of rank 4 (one a head), which the INT8 kernel does not know.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        output_units: int,
        *,
        precision: Mapping[str, str],
        input_params: Mapping[str, Params | None],
        head_params: Mapping[str, Params],
        context_params: Params | None = None,
        softmax: str = "float",
        **kwargs: Any,
    ) -> None:
        scales = read_any_scales(input_params, head_params, context_params)
        sizes = num_heads, key_dim, value_dim, dict(precision)
        plan = AttentionPlan(*sizes, softmax=softmax, **scales)
        super().__init__(plan, output_units, **kwargs)

    def call(  # type: ignore[override]
        self,
        query: tf.Tensor,
        value: tf.Tensor,
        key: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        cache: tf.Tensor | None = None,
        cache_update_index: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        self.refuse_scores(return_attention_scores)
        core = self.core
        query, value, key = as_float32_each(query, value, value if key is None else key)
        inputs = {"query": query, "key": key, "value": value}
        found = project_with_cache(core, inputs, cache, cache_update_index)
        output = core.attend(
            found.query,
            found.keys,
            found.values,
            lengths=all_keys(found.keys.tensor),
            mask=merge_masks(attention_mask=attention_mask),
            causal=False,
            offset=0,
        )
        output = self.given(output)
        return output if cache is None else (output, found.cache)

    def call_cached(
        self,
        query: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        cache: tf.Tensor | None = None,
        cache_update_index: Any = None,
    ) -> Any:
        """A step of self-attention, as KerasHub's decoders ask for one in `generate`."""
        return self.call(
            query,
            query,
            attention_mask=attention_mask,
            cache=cache,
            cache_update_index=cache_update_index,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **scales_config(self.plan), "precision": self.precision}
