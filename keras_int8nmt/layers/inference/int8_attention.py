"""`Int8Attention`: what `QuantAttention` becomes; inference only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.attention_scales import Params, read_scales, scales_config
from keras_int8nmt.layers.inference.frozen_attention import FrozenAttention
from keras_int8nmt.layers.projections import MATMULS


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8Attention(FrozenAttention):
    """Multi-head attention with INT8 projections, INT8 QK^T and INT8 AV.

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
        softmax: "float", or "integer" as in `integer_rules`.

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
        input_params: Mapping[str, Params],
        head_params: Mapping[str, Params],
        context_params: Params,
        softmax: str = "float",
        **kwargs: Any,
    ) -> None:
        precision = dict.fromkeys(MATMULS, "int8")
        scales = read_scales(input_params, head_params, context_params)
        plan = AttentionPlan(num_heads, key_dim, value_dim, precision, softmax=softmax, **scales)
        super().__init__(plan, output_units, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **scales_config(self.plan)}
