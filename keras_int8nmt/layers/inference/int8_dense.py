"""`Int8Dense`: what `QuantDense` becomes; inference only."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import tensorflow as tf

from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    as_codes,
    as_float32,
    optional_params,
    params_config,
    params_from_config,
)
from keras_int8nmt.layers.inference.packed_matmul import PackedMatmul, Section
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import NotDescribableError, Part

# Keras activations that run inside the product's epilogue; any other one runs on its float output.
FUSED_ACTIVATIONS = {
    "linear": "none",
    "relu": "relu",
    "silu": "swish",
    "swish": "swish",
    "gelu": "gelu",
}
# Functions of other packages that are one of Keras' with other arguments, by package and name.
_FUSED_FUNCTIONS = {("keras_hub", "gelu_approximate"): "gelu_tanh"}


def fused_activation(activation: Any) -> str | None:
    """The epilogue's name of a Keras activation, or None where Keras must compute it.

    `keras.activations.gelu` is the erf form in `keras.ops` terms only when called with
    `approximate=False`, which is what the string "gelu" means to Keras. The form with tanh has
    no name there; KerasHub's function of it is known.
    """
    if activation is None:
        return "none"
    for name, fused in FUSED_ACTIVATIONS.items():
        if activation is keras.activations.get(name):
            return fused
    package = str(getattr(activation, "__module__", "")).partition(".")[0]
    return _FUSED_FUNCTIONS.get((package, getattr(activation, "__name__", "")))


def require_fused(activation: Any) -> str:
    """`fused_activation`, where the native decoder needs one.

    Raises:
        NotDescribableError: for an activation that the ops can't compute.
    """
    fused = fused_activation(activation)
    if fused is None:
        raise NotDescribableError(f"The native decoder has no activation {activation!r}.")
    return fused


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8Dense(FrozenLayer):
    """A dense layer on an INT8 product: `act(x @ kernel + bias)`.

    Made by `convert` from a calibrated `QuantDense`. It takes float32 (and quantizes it with the
    calibrated scale) or the codes that a fused neighbour wrote, `[..., k]`, and gives
    `[..., units]` as float32, or as codes when `output_params` is set.

    Args:
        units: Number of output columns.
        activation: Keras activation (name, function or None).
        input_params: `QuantParams` of the input.
        output_params: `QuantParams` of the output, or None for float32 output. Needs an activation
            that the epilogue knows (see `fused_activation`).
        fold_output: Whether the scale of the output may be folded into those of the product. That
            is a little faster, and rounds once less: a code may differ by one from what a reader
            makes of the float output. False: never, and calls with `training=True` give float32.

    Raises:
        ValueError: on an integer output with an activation that the epilogue does not know, on
            input of a wrong dtype, and when called before it has weights.
    """

    precision = "int8"

    def __init__(
        self,
        units: int,
        activation: Any = None,
        *,
        input_params: QuantParams | dict[str, Any],
        output_params: QuantParams | dict[str, Any] | None = None,
        fold_output: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.fold_output = fold_output
        self.activation = keras.activations.get(activation)
        self.input_params = params_from_config(input_params)
        self.output_params = optional_params(output_params)
        fused = fused_activation(self.activation)
        if fused is None and self.output_params is not None:
            raise ValueError(
                "An integer output needs an activation of the epilogue "
                f"({', '.join(FUSED_ACTIVATIONS)}); received {activation!r}."
            )
        self._fused = fused or "none"
        self._float_activation = self.activation if fused is None else None
        self._matmul: PackedMatmul | None = None

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
    ) -> Int8Dense:
        """The layer for float weights `[k, units]`; these are quantized by `quantize_weights`."""
        layer = cls(kernel.shape[1], activation, **kwargs)
        layer._matmul = PackedMatmul.from_float(
            [Section(kernel, bias, layer.output_params if layer.fold_output else None)],
            layer.input_params,
            layer._fused,
            per_channel,
            weight_bits,
        )
        return layer

    @property
    def matmul(self) -> PackedMatmul:
        """The product, its bias included."""
        return self._require(self._matmul)

    @property
    def fused(self) -> str:
        """The activation that the product's epilogue computes."""
        return self._fused

    def code_inputs(self, given: Collection[str]) -> dict[str, QuantParams]:
        return {"inputs": self.input_params}

    def writing(self, params: QuantParams) -> Int8Dense | None:
        if self.output_params is not None or self._float_activation is not None:
            return None
        layer = Int8Dense(
            self.units,
            self.activation,
            input_params=self.input_params,
            output_params=params,
            fold_output=False,
            name=self.name,
            dtype=self.dtype_policy,
        )
        layer._matmul, layer._path = self._matmul, self._path
        return layer

    def _written(self, training: bool | None) -> QuantParams | None:
        """How the output is written."""
        return None if training and not self.fold_output else self.output_params

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, *, mask: Any = None
    ) -> tf.Tensor:
        # `mask` is what `QuantDense` takes; it does not change the output.
        matmul = self._require(self._matmul)
        step = PackedMatmul.output_step(self._written(training), self._fused, self.fold_output)
        codes = as_codes(as_float32(inputs), self.input_params)
        outputs = matmul(codes, self._fused, **step)
        if self._float_activation is not None:
            outputs = self._float_activation(outputs)
        return self.given(outputs)

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, *, mask: Any = None
    ) -> keras.KerasTensor:
        written = self._written(training)
        dtype = self.float_type if written is None else written.dtype
        return keras.KerasTensor((*inputs.shape[:-1], self.units), dtype=dtype)

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`."""
        return self.matmul.spec(
            packed, self.input_params, self.output_params, self.fused, self.fold_output
        )

    def save_own_variables(self, store: Any) -> None:
        self._require(self._matmul).save(store)

    def load_own_variables(self, store: Any) -> None:
        self._matmul = PackedMatmul.load(store)
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
            input_params=params_config(self.input_params),
            output_params=params_config(self.output_params),
            fold_output=self.fold_output,
        )
        return config
