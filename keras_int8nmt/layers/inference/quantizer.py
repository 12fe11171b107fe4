"""`Quantizer`: the codes of a tensor, written once for several INT8 products that read them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    as_codes,
    as_float32,
    params_config,
    params_from_config,
)
from keras_int8nmt.quantization import QuantParams


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Quantizer(FrozenLayer):
    """Codes of its input, those that each of its readers would make by itself.

    `convert` puts it into graphs where several products read one tensor by the same scale.

    Args:
        output_params: `QuantParams` of the codes.

    Call arguments:
        inputs: float32 `[...]`.

    Returns:
        int8 or uint8 `[...]`.

    Example:

        >>> layer = Quantizer(output_params=QuantParams(np.float32(10), 0, "int8"))
        >>> layer(tf.constant([1.0, -0.26]))
        <tf.Tensor: shape=(2,), dtype=int8, numpy=array([10, -3], dtype=int8)>
    """

    def __init__(self, *, output_params: QuantParams | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_params = params_from_config(output_params)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return as_codes(as_float32(inputs), self.output_params)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.output_params.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_params": params_config(self.output_params)}
