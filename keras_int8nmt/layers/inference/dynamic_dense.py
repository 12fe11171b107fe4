"""`DynamicDense`: what a dense layer becomes when nothing is calibrated; inference only."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_int8nmt.layers.inference.dynamic_matmul import DynamicMatmul
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer, as_float32
from keras_int8nmt.layers.inference.int8_dense import fused_activation, require_fused
from keras_int8nmt.runtime.model_spec import Part


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class DynamicDense(FrozenLayer):
    """A dense layer on an INT8 product whose input has a scale a row: `act(x @ kernel + bias)`.

    Made by `convert(model, activations="dynamic")`. It takes float32 `[..., k]`, quantizes each row
    by its own largest magnitude (`quantization.quantize_rows`) and gives float32 `[..., units]`. So
    it needs no calibration, and pays for it with a pass over its input and float32 between layers.

    Args:
        units: Number of output columns.
        activation: Keras activation (name, function or None).

    Raises:
        ValueError: on input that is not float32, and when called before it has weights.

    Example:

        >>> layer = DynamicDense.from_kernel(np.eye(2, dtype="float32"), None, "relu")
        >>> layer(tf.constant([[3.0, -3.0]]))
        <tf.Tensor: shape=(1, 2), dtype=float32, numpy=array([[3., 0.]], dtype=float32)>
    """

    precision = "int8"

    def __init__(self, units: int, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self._matmul: DynamicMatmul | None = None

    @classmethod
    def from_kernel(
        cls,
        kernel: Any,
        bias: Any,
        activation: Any,
        *,
        per_channel: bool = True,
        weight_bits: int = 8,
        **kwargs: Any,
    ) -> DynamicDense:
        """The layer for float weights `[k, units]`; these are quantized by `quantize_weights`."""
        layer = cls(kernel.shape[1], activation, **kwargs)
        layer._matmul = DynamicMatmul.from_float(
            (kernel, bias), per_channel=per_channel, weight_bits=weight_bits
        )
        return layer

    @property
    def matmul(self) -> DynamicMatmul:
        """The product, its bias included."""
        return self._require(self._matmul)

    @property
    def fused(self) -> str | None:
        """The activation as the product computes it; None where Keras must."""
        return fused_activation(self.activation)

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, *, mask: Any = None
    ) -> tf.Tensor:
        # `training` and `mask` are what `QuantDense` takes; neither changes the output.
        inputs = as_float32(inputs)
        if self.fused is not None:
            return self.given(self.matmul(inputs, self.fused))
        return self.given(self.activation(self.matmul(inputs)))

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, *, mask: Any = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor((*inputs.shape[:-1], self.units), dtype=self.float_type)

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`."""
        return self.matmul.spec(packed, require_fused(self.activation))

    def save_own_variables(self, store: Any) -> None:
        self.matmul.save(store)

    def load_own_variables(self, store: Any) -> None:
        self._matmul = DynamicMatmul.load(store)
        if self._matmul.shape[1] != self.units:
            raise ValueError(
                f"Layer {self.name!r} has {self.units} units; the stored weights have shape "
                f"{self._matmul.shape}."
            )

    @property
    def precisions(self) -> set[str]:
        return {self.precision}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(units=self.units, activation=keras.activations.serialize(self.activation))
        return config
