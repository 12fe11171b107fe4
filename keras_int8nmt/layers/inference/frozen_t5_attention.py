"""`FrozenT5Attention`: what `QuantT5MultiHeadAttention` becomes; inference only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import require_finite_array
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
)
from keras_int8nmt.layers.position_bias import BUCKETS, position_bias, spec_of_bias
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import NotDescribableError, Part

_TABLE = "relative_attention_bias"


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FrozenT5Attention(FrozenAttention):
    """Attention with T5's bias on its scores, over a cache that its caller keeps; inference only.

    Made by `convert` from a `QuantT5MultiHeadAttention`. Each MatMul is INT8 or float32 by itself,
    as in `MixedAttention`; with dynamic scales as in `DynamicAttention`. The bias is float and
    added to float scores, and the mask is in it. The cache is as in `FrozenCachedAttention`.

    Args:
        num_heads: How many heads.
        key_dim, value_dim: Size of a head.
        output_units: Columns of the output projection.
        is_decoder: Whether relative positions are those of a decoder.
        has_relative_bias: Whether the layer has a table of relative positions.
        precision: "int8" or "float32" of each of "query", "key", "value", "QK", "AV" and
            "attention_output".
        input_params: `QuantParams` of each input, by the projections that read it; None where
            scales are dynamic.
        head_params: `QuantParams` (int8, zero point 0) of "query", "key" and "value"; empty where
            scales are dynamic.
        context_params: `QuantParams` of the output projection's input; None likewise.
        softmax: "float", or "integer" as in `integer_rules`.

    Call arguments:
        Those of `QuantT5MultiHeadAttention`.

    Returns:
        `(output, position_bias, cache)`, as `QuantT5MultiHeadAttention`. A row of which all keys
        are masked attends to all of them, as in the float layer.

    Raises:
        ValueError: for `cache_update_index` without `cache`.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        output_units: int,
        *,
        is_decoder: bool,
        has_relative_bias: bool,
        precision: Mapping[str, str],
        input_params: Mapping[str, Params | None],
        head_params: Mapping[str, Params],
        context_params: Params | None = None,
        softmax: str = "float",
        **kwargs: Any,
    ) -> None:
        scales = read_any_scales(input_params, head_params, context_params)
        sizes = num_heads, key_dim, value_dim, dict(precision)
        plan = AttentionPlan(*sizes, softmax=softmax, scaled=False, **scales)
        super().__init__(plan, output_units, **kwargs)
        self.is_decoder = is_decoder
        self.has_relative_bias = has_relative_bias
        self._table: tf.Tensor | None = None

    @classmethod
    def from_kernels(cls, *args: Any, table: np.ndarray | None = None, **kwargs: Any) -> Self:
        """As `FrozenAttention.from_kernels`, with the table of relative positions, if any."""
        layer = super().from_kernels(*args, has_relative_bias=table is not None, **kwargs)
        layer._set_table(table)
        return layer

    def _set_table(self, table: Any) -> None:
        if table is None:
            return
        table = np.asarray(table)
        if table.shape != (BUCKETS, self.num_heads) or table.dtype != np.float32:
            raise ValueError(
                f"Layer {self.name!r} expects {_TABLE!r} of float32 and shape "
                f"{(BUCKETS, self.num_heads)}; the stored one is {table.dtype} of shape "
                f"{table.shape}."
            )
        require_finite_array(_TABLE, table)
        self._table = tf.constant(table)

    def call(  # type: ignore[override]
        self,
        hidden_states: tf.Tensor,
        mask: tf.Tensor | None = None,
        key_value_states: tf.Tensor | None = None,
        position_bias: tf.Tensor | None = None,
        cache: tf.Tensor | None = None,
        cache_update_index: Any = None,
        training: bool | None = None,
    ) -> Any:
        core = self.core
        given = hidden_states if key_value_states is None else key_value_states
        query, value = as_float32_each(hidden_states, given)
        inputs = {"query": query, "key": value, "value": value}
        found = project_with_cache(core, inputs, cache, cache_update_index)
        if position_bias is None:
            counts = tf.shape(hidden_states)[1], tf.shape(found.keys.tensor)[1]
            position_bias = self._new_bias(*counts, mask, cache_update_index)
        output = core.attend(
            found.query,
            found.keys,
            found.values,
            lengths=all_keys(found.keys.tensor),
            mask=None,
            causal=False,
            offset=0,
            bias=tf.cast(position_bias, tf.float32),
        )
        return self.given(output), position_bias, found.cache

    def _new_bias(self, queries: Any, keys: Any, mask: Any, index: Any) -> tf.Tensor:
        # In the type in which the float layer has it.
        table = None if self._table is None else tf.cast(self._table, self.float_type)
        return position_bias(
            table,
            self.num_heads,
            queries,
            keys,
            0 if index is None else index,
            mask,
            bidirectional=not self.is_decoder,
            dtype=self.float_type,
        )

    def compute_output_spec(
        self,
        hidden_states: Any,
        mask: Any = None,
        key_value_states: Any = None,
        position_bias: Any = None,
        cache: Any = None,
        cache_update_index: Any = None,
        training: bool | None = None,
    ) -> Any:
        given = hidden_states if key_value_states is None else key_value_states
        keys = given.shape[1] if cache is None else cache.shape[2]
        queries, kind = hidden_states.shape[1], self.float_type
        output = keras.KerasTensor((*hidden_states.shape[:-1], self.output_units), dtype=kind)
        bias = spec_of_bias(position_bias, self.num_heads, queries, keys, mask, kind)
        return output, bias, cache

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None, as in the float layer."""

    def code_inputs(self, given: Collection[str]) -> dict[str, QuantParams]:
        """None: what attends in T5 lies in layers of KerasHub's own."""
        return {}

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`: there is none."""
        raise NotDescribableError("The native decoder has no attention with relative positions.")

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if self._table is not None:
            store[_TABLE] = self._table.numpy()

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        self._set_table(store[_TABLE] if self.has_relative_bias else None)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **scales_config(self.plan),
            "precision": self.precision,
            "is_decoder": self.is_decoder,
            "has_relative_bias": self.has_relative_bias,
        }
