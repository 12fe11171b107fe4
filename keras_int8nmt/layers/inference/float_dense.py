"""`FloatDense`: what `QuantDense` becomes where a policy leaves it float; inference only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.float_matmul import FloatMatmul
from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    as_codes,
    as_float32,
    optional_params,
    params_config,
)
from keras_int8nmt.layers.inference.int8_dense import require_fused
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import Part


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FloatDense(FrozenLayer):
    """A frozen dense layer in float32: `act(x @ kernel + bias)`.

    Made by `convert` from a calibrated `QuantDense` that a policy leaves float. It takes float32
    `[..., k]` and gives `[..., units]` as float32, or as codes when `output_params` is set, because
    the product that reads them is INT8.

    Args:
        units: Number of output columns.
        activation: Keras activation (name, function or None).
        output_params: `QuantParams` of the output, or None for float32 output.

    Raises:
        ValueError: on input that is not float32, and when called before it has weights.
    """

    # What describes its numbers: `kernel` and `bias` (float32 constants), `activation`,
    # `output_params`, `precision`.
    precision = "float32"

    def __init__(
        self,
        units: int,
        activation: Any = None,
        *,
        output_params: QuantParams | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.output_params = optional_params(output_params)
        self._matmul: FloatMatmul | None = None

    @classmethod
    def from_kernel(
        cls, kernel: np.ndarray, bias: np.ndarray | None, activation: Any, **kwargs: Any
    ) -> FloatDense:
        """The layer for float weights `[k, units]`."""
        layer = cls(kernel.shape[1], activation, **kwargs)
        layer._matmul = FloatMatmul(kernel, bias)
        return layer

    @property
    def kernel(self) -> tf.Tensor:
        """float32 `[k, units]`."""
        return self._require(self._matmul).kernel

    @property
    def bias(self) -> tf.Tensor:
        """float32 `[units]`; zeros where the float layer has none."""
        return self._require(self._matmul).bias

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, *, mask: Any = None
    ) -> tf.Tensor:
        # `training` and `mask` are what `QuantDense` takes; neither changes the output.
        outputs = self.activation(self._require(self._matmul)(as_float32(inputs)))
        return (
            self.given(outputs)
            if self.output_params is None
            else as_codes(outputs, self.output_params)
        )

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, *, mask: Any = None
    ) -> keras.KerasTensor:
        dtype = self.float_type if self.output_params is None else self.output_params.dtype
        return keras.KerasTensor((*inputs.shape[:-1], self.units), dtype=dtype)

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`."""
        activation = require_fused(self.activation)
        return self._require(self._matmul).spec(packed, self.output_params, activation)

    def save_own_variables(self, store: Any) -> None:
        self._require(self._matmul).save(store)

    def load_own_variables(self, store: Any) -> None:
        self._matmul = FloatMatmul.load(store)
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
        config.update(
            units=self.units,
            activation=keras.activations.serialize(self.activation),
            output_params=params_config(self.output_params),
        )
        return config
