"""`QuantDense`: `keras.layers.Dense` plus an observer of its input."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.matmuls import MatMul, dense_matmul
from keras_int8nmt.layers.observing.exported import activated
from keras_int8nmt.layers.observing.learned_threshold import (
    split_learned,
    start_learned,
    with_learned,
)
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.plain_files import require_weights
from keras_int8nmt.layers.quant_layer import QuantLayer


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantDense(keras.layers.Dense, QuantLayer):
    """A `keras.layers.Dense` that can be calibrated, simulated in INT8 and converted.

    Until told otherwise it computes what `keras.layers.Dense` computes and trains like it. Its
    observer, `input_observer`, holds the calibration state; see `Observer` for the states. When
    simulating, the input is rounded and clipped by the calibrated thresholds and the kernel to int8
    with one scale per output channel; the bias stays float.

    Args:
        The arguments of `keras.layers.Dense`.

    Call arguments:
        inputs: Float tensor `[..., k]`; a sparse one is made dense.
        training: As in `keras.layers.Dense`.
        mask: Bool mask over the leading axes of `inputs`, keyword-only; by default the Keras mask
            that `inputs` carries. It changes no output: masked positions are not observed.

    Example:

        >>> layer = QuantDense(64, activation="relu")
        >>> layer(keras.ops.ones((2, 16))).shape
        (2, 64)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.input_observer = Observer(name="input_observer")

    # The arguments of the installed Keras, which differ from version to version.
    __init__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        keras.layers.Dense.__init__
    )

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.input_observer.build(input_shape)

    def load_own_variables(self, store: Any) -> None:
        require_weights(self, store)
        super().load_own_variables(store)

    def get_build_config(self) -> Any:
        return with_learned(super().get_build_config(), [self.input_observer])

    def build_from_config(self, config: Any) -> None:
        config, names = split_learned(config)
        super().build_from_config(config)
        start_learned([self.input_observer], names)

    def call(self, inputs: Any, training: bool | None = None, *, mask: Any = None) -> Any:
        # A sparse input is counted and rounded as a dense one; its zeros are numbers, too.
        x = self.input_observer.watch(ops.convert_to_tensor(inputs, sparse=False), mask)
        x = ops.matmul(x, self.input_observer.quantize_weights(self.kernel))
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return activated(self, x)

    def quantized_call(self, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        # Keras' own quantization, which knows no masks.
        return super().quantized_call(*args, **kwargs)

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, *, mask: Any = None
    ) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def matmuls(self) -> list[MatMul]:
        return [dense_matmul(self, self.input_observer)]

    def unsupported_reasons(self) -> list[str]:
        """Why this layer can't become INT8; empty if it can."""
        if self.quantization_mode is not None:
            return [f"Keras' own {self.quantization_mode} quantization is on"]
        return []
