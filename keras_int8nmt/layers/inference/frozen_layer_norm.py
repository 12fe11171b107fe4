"""`FrozenLayerNorm`: what a plain `LayerNormalization` of a converted model becomes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import require_finite_array
from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    as_float32,
    optional_params,
    output_step,
    params_config,
)
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import QuantParams


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FrozenLayerNorm(FrozenLayer):
    """LayerNorm over the last axis, in float32 and in one pass (Ba et al. 2016, arXiv 1607.06450).

    Keras computes it by some ten operations, each of which reads and writes the whole tensor. The
    numbers are those up to rounding.

    Args:
        epsilon: Added to the variance.
        center, scale: Whether there are a beta and a gamma.
        output_params: `QuantParams` of the output, or None for floats.

    Call arguments:
        inputs: Floats `[..., c]`. A NaN or an infinity in them is an error that names the row.
        training: With True, the output is floats whatever `output_params` are: what lies between
            this layer and its readers, such as dropout, needs them.

    Returns:
        Floats `[..., c]` of the layer's dtype, or codes.

    Example:

        >>> norm = FrozenLayerNorm.from_weights(np.ones(512, np.float32), None, epsilon=1e-6)
        >>> norm(x)
    """

    # For `exchange`: a plain norm that a file makes in its place has the same weights and, up to
    # rounding, numbers.
    loads_as_plain = True

    def __init__(
        self,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        *,
        output_params: QuantParams | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_params = optional_params(output_params)
        self.epsilon = epsilon
        self.center, self.scale = center, scale
        self._factors: Any = None
        self._offsets: Any = None

    @classmethod
    def from_weights(
        cls, gamma: np.ndarray | None, beta: np.ndarray | None, **kwargs: Any
    ) -> FrozenLayerNorm:
        """The layer for float arrays `[c]`, of which one may be None."""
        layer = cls(center=beta is not None, scale=gamma is not None, **kwargs)
        layer._set(gamma, beta)
        return layer

    def _set(self, gamma: np.ndarray | None, beta: np.ndarray | None) -> None:
        given = gamma if gamma is not None else beta
        assert given is not None
        ones, zeros = np.ones_like(given), np.zeros_like(given)
        factors, offsets = (ones if gamma is None else gamma), (zeros if beta is None else beta)
        require_finite_array("gamma", factors)
        require_finite_array("beta", offsets)
        self._factors = tf.constant(factors, tf.float32)
        self._offsets = tf.constant(offsets, tf.float32)

    @property
    def gamma(self) -> tf.Tensor | None:
        """float32 `[c]`; None where there is none."""
        return self._require(self._factors) if self.scale else None

    @property
    def beta(self) -> tf.Tensor | None:
        """float32 `[c]`; None where there is none."""
        return self._require(self._offsets) if self.center else None

    def writing(self, params: QuantParams) -> FrozenLayerNorm | None:
        if self.output_params is not None:
            return None
        layer = FrozenLayerNorm(
            self.epsilon,
            self.center,
            self.scale,
            output_params=params,
            name=self.name,
            dtype=self.dtype_policy,
        )
        layer._factors, layer._offsets, layer._path = self._factors, self._offsets, self._path
        return layer

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        factors = self._require(self._factors)
        step = output_step(self._written(training))
        x = as_float32(inputs)
        return self.given(
            ops.layer_norm(x, factors, self._offsets, epsilon=self.epsilon, **step)[1]
        )

    def _written(self, training: bool | None) -> QuantParams | None:
        """How the output is written."""
        return None if training else self.output_params

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        written = self._written(training)
        dtype = self.float_type if written is None else written.dtype
        return keras.KerasTensor(inputs.shape, dtype=dtype)

    # In the order and under the names that `LayerNormalization` has in a file, so that a layer of
    # a user's own, which makes a plain norm when it is loaded, finds them.
    def save_own_variables(self, store: Any) -> None:
        for i, array in enumerate(each for each in (self.gamma, self.beta) if each is not None):
            store[str(i)] = np.asarray(array)

    def load_own_variables(self, store: Any) -> None:
        arrays = iter([np.asarray(store[str(i)]) for i in range(self.scale + self.center)])
        gamma = next(arrays) if self.scale else None
        self._set(gamma, next(arrays) if self.center else None)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            epsilon=self.epsilon,
            center=self.center,
            scale=self.scale,
            output_params=params_config(self.output_params),
        )
        return config
