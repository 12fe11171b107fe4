"""`MixedAttention`: what `QuantAttention` becomes where a policy leaves a part of it float."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.attention_scales import Params, read_scales, scales_config
from keras_int8nmt.layers.inference.frozen_attention import FrozenAttention


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class MixedAttention(FrozenAttention):
    """Multi-head attention of which each MatMul is INT8 or float32 by itself; inference only.

    Made by `convert` from a calibrated `QuantAttention` of which a policy leaves a part float; it
    is called like `Int8Attention`. The four projections may be INT8 or float32, and QK^T and AV:

    - INT8 QK^T multiplies int8 queries and keys; in float32 it is `q . k / sqrt(key_dim)`.
    - INT8 AV multiplies uint8 probabilities at the scale 255 and int8 values; in float32 it
      multiplies the probabilities and values themselves.
    - A projection is written in the type that its reader multiplies, whatever it computes in
      itself: the cache is int8 on the side whose product is INT8, and else float32. Softmax is
      float32 unless `softmax` says otherwise.

    Args:
        num_heads, key_dim, value_dim: As in `keras.layers.MultiHeadAttention`.
        output_units: Columns of the output projection.
        precision: "int8" or "float32" of each of "query", "key", "value", "QK", "AV" and
            "attention_output".
        input_params: `QuantParams` of each input, by the projections that read it.
        head_params: `QuantParams` (int8, zero point 0) of "query", "key" and "value".
        context_params: `QuantParams` of the output projection's input.
        softmax: "float", or "integer" as in `integer_rules`.

    Call arguments:
        Those of `Int8Attention`. Inputs may be codes where all that read them are INT8. A cache is
        a pair of tensors `[b, capacity, num_heads * key_dim]` and
        `[b, capacity, num_heads * value_dim]`, each int8 or float32, see `make_cache`.

    Returns:
        As `Int8Attention`.

    Raises:
        ValueError: for another `precision`, for codes where a float projection reads them, and as
            `Int8Attention`.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        output_units: int,
        *,
        precision: Mapping[str, str],
        input_params: Mapping[str, Params],
        head_params: Mapping[str, Params],
        context_params: Params,
        softmax: str = "float",
        **kwargs: Any,
    ) -> None:
        scales = read_scales(input_params, head_params, context_params)
        plan = AttentionPlan(
            num_heads, key_dim, value_dim, dict(precision), softmax=softmax, **scales
        )
        super().__init__(plan, output_units, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **scales_config(self.plan), "precision": self.precision}
