"""`DynamicAttention`: what attention becomes when nothing is calibrated; inference only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_int8nmt.layers.inference.dynamic_matmul import DynamicMatmul, Weights
from keras_int8nmt.layers.inference.float_matmul import FloatMatmul
from keras_int8nmt.layers.inference.frozen_attention import (
    MATMULS,
    PROJECTIONS,
    FrozenAttention,
    Product,
)
from keras_int8nmt.quantization import PRECISIONS

# Products of two tensors have no scale that is known before: they and the cache are float.
FLOAT = ("QK", "AV")


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
        **kwargs: Any,
    ) -> None:
        if sorted("_".join(inputs).split("_")) != sorted(PROJECTIONS):
            raise ValueError(
                f"`inputs` must name each of {', '.join(PROJECTIONS)} once, those of one tensor "
                f'joined by "_"; received {list(inputs)}.'
            )
        if set(precision) != set(MATMULS) or not set(precision.values()) <= set(PRECISIONS):
            raise ValueError(
                f"`precision` must say {' or '.join(PRECISIONS)} of each of {', '.join(MATMULS)}; "
                f"received {dict(precision)}."
            )
        if any(precision[name] != "float32" for name in FLOAT):
            raise ValueError(
                f"{' and '.join(FLOAT)} are float32 where scales are dynamic; received "
                f"{dict(precision)}."
            )
        super().__init__(
            num_heads,
            key_dim,
            value_dim,
            output_units,
            input_params=dict.fromkeys(inputs),
            head_params={},
            context_params=None,
            **kwargs,
        )
        self.precision = dict(precision)

    def _is_int8(self, name: str) -> bool:
        return False  # nothing is handed on as codes

    def _kind(self, name: str) -> str:
        return "int8" if self.precision[name] == "int8" else name

    def _product_class(self, name: str) -> Any:
        return DynamicMatmul if self.precision[name] == "int8" else FloatMatmul

    def _make_product(self, group: str, members: dict[str, Weights], **rule: Any) -> Product:
        if self._product_class(next(iter(members))) is DynamicMatmul:
            return DynamicMatmul.from_float(*members.values(), **rule)
        kernel, bias = members[group]
        return FloatMatmul(np.asarray(kernel), bias)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["inputs"] = list(config.pop("input_params"))
        del config["head_params"], config["context_params"]
        return {**config, "precision": dict(self.precision)}
