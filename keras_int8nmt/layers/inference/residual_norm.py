"""`ResidualNorm`: residual sum, LayerNorm and quantization in one pass."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import as_array, require_finite_array
from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    optional_params,
    output_step,
    params_config,
)
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.ops.integer_rules import require_norm
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import Part
from keras_int8nmt.runtime.spec_parts import norm


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class ResidualNorm(FrozenLayer):
    """LayerNorm of `x + residual` that hands its result on as float32 and as codes.

    What an INT8 model makes of `keras.layers.LayerNormalization` and the sum before it: the codes
    for the INT8 products that follow are written in the same pass.

    Args:
        carry: What goes on as the residual stream: "norm", the normalized value (post-norm models),
            or "sum", `x + residual` (pre-norm models).
        epsilon: Added to the variance.
        arithmetic: "float", or "integer" as in `integer_rules`.
        output_params: `QuantParams` of the second output, or None for float32.

    Call arguments:
        x: float32 `[..., c]`.
        residual: float32 `[..., c]`, or None.

    Returns:
        `(carry, normalized)`: float32 `[..., c]`, and float32 or codes `[..., c]`.
    """

    def __init__(
        self,
        carry: str = "norm",
        epsilon: float = 1e-5,
        *,
        arithmetic: str = "float",
        output_params: QuantParams | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if carry not in ("norm", "sum"):
            raise ValueError(f'`carry` must be "norm" or "sum"; received {carry!r}.')
        self.carry = carry
        self.epsilon = epsilon
        self.arithmetic = require_norm(arithmetic, epsilon)
        self.output_params = optional_params(output_params)
        self._gamma: Any = None
        self._beta: Any = None

    @classmethod
    def from_weights(cls, gamma: Any, beta: Any, **kwargs: Any) -> ResidualNorm:
        layer = cls(**kwargs)
        layer._set(np.asarray(gamma), np.asarray(beta))
        return layer

    def _set(self, gamma: np.ndarray, beta: np.ndarray) -> None:
        require_finite_array("gamma", gamma)
        require_finite_array("beta", beta)
        self._gamma = tf.constant(gamma, tf.float32)
        self._beta = tf.constant(beta, tf.float32)

    @property
    def gamma(self) -> tf.Tensor:
        """float32 `[c]`."""
        return self._require(self._gamma)

    @property
    def beta(self) -> tf.Tensor:
        """float32 `[c]`."""
        return self._require(self._beta)

    def call(self, x: tf.Tensor, residual: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        gamma = self._require(self._gamma)
        return ops.layer_norm(
            x,
            gamma,
            self._beta,
            residual=residual,
            epsilon=self.epsilon,
            carry=self.carry,
            arithmetic=self.arithmetic,
            **output_step(self.output_params),
        )

    def spec(self) -> Part:
        """Its part of a `ModelSpec`."""
        return norm(
            as_array(self.gamma),
            as_array(self.beta),
            self.epsilon,
            self.carry,
            self.output_params,
            self.arithmetic,
        )

    def entry_spec(self) -> Part:
        """Likewise, where it begins a pre-norm stack."""
        return {"kind": "norm", **self.spec()}

    def save_own_variables(self, store: Any) -> None:
        store["gamma"] = self._require(self._gamma).numpy()
        store["beta"] = self._beta.numpy()

    def load_own_variables(self, store: Any) -> None:
        self._set(np.asarray(store["gamma"]), np.asarray(store["beta"]))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            carry=self.carry,
            epsilon=self.epsilon,
            arithmetic=self.arithmetic,
            output_params=params_config(self.output_params),
        )
        return config
