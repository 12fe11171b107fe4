"""`DynamicAttention`: what attention becomes when nothing is calibrated; inference only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.frozen_attention import FrozenAttention
from keras_int8nmt.layers.projections import ProjectionGroup


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class DynamicAttention(FrozenAttention):
    """Multi-head attention on INT8 projections whose inputs have a scale a row; inference only.

    Made by `convert(model, activations="dynamic")`; it is called like `Int8Attention`. The four
    projections are INT8 as `DynamicDense` computes it, or float32 where a policy says so; QK^T,
    softmax, AV and the cache are float32, as in CTranslate2.

    Args:
        num_heads, key_dim, value_dim: As in `keras.layers.MultiHeadAttention`.
        output_units: Columns of the output projection.
        inputs: Which projections read one tensor, such as `("query", "key_value")`: their INT8 ones
            come from one product. It changes no number.
        precision: "int8" or "float32" of each of "query", "key", "value" and "attention_output";
            "float32" of "QK" and "AV".

    Call arguments:
        Those of `Int8Attention`, inputs and caches in float32.

    Returns:
        As `Int8Attention`.

    Raises:
        ValueError: for other `inputs` or `precision`, for input that is not float32, and as
            `Int8Attention`.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        output_units: int,
        *,
        inputs: Sequence[str],
        precision: Mapping[str, str],
        softmax: str = "float",
        **kwargs: Any,
    ) -> None:
        plan = AttentionPlan(
            num_heads,
            key_dim,
            value_dim,
            dict(precision),
            inputs=dict.fromkeys(ProjectionGroup.parse(text) for text in inputs),
            heads={},
            softmax=softmax,
        )
        super().__init__(plan, output_units, **kwargs)

    def get_config(self) -> dict[str, Any]:
        inputs = [str(group) for group in self.plan.inputs]
        return {**super().get_config(), "inputs": inputs, "precision": self.precision}
