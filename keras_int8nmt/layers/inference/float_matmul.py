"""One float32 matrix product with everything fixed: what a MatMul that stays float computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import as_array, require_finite_array
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import Part
from keras_int8nmt.runtime.spec_parts import float_product


class FloatMatmul:
    """`y = x @ kernel + bias` in float32; frozen, like `PackedMatmul`.

    Attributes:
        kernel: float32 constant `[k, n]`.
        bias: float32 constant `[n]`, zeros where the float layer has none.
        shape: `(k, n)`.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | None) -> None:
        if kernel.ndim != 2:
            raise ValueError(f"Weights must have shape [k, n]; they have shape {kernel.shape}.")
        bias = np.zeros(kernel.shape[1], np.float32) if bias is None else bias
        if bias.shape != kernel.shape[1:]:
            raise ValueError(
                f"The bias must have shape {kernel.shape[1:]} to go with weights of shape "
                f"{kernel.shape}; it has shape {bias.shape}."
            )
        require_finite_array("kernel", kernel)
        require_finite_array("bias", bias)
        self.shape = tuple(kernel.shape)
        self.kernel = tf.constant(kernel, tf.float32)
        self.bias = tf.constant(bias, tf.float32)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        if x.dtype != tf.float32:
            raise ValueError(
                f"A float32 product reads float32 values; received a tensor of {x.dtype.name}."
            )
        k, n = self.shape
        # One product of two matrices, whatever the rank: a batched one is slower.
        y = tf.matmul(tf.reshape(x, (-1, k)), self.kernel) + self.bias
        y = tf.reshape(y, tf.concat([tf.shape(x)[:-1], [n]], 0))
        y.set_shape([*x.shape[:-1], n])
        return y

    def spec(
        self, packed: bool, output: QuantParams | None = None, activation: str = "none"
    ) -> Part:
        """Its part of a `ModelSpec`, which writes codes of `output`."""
        return float_product(
            as_array(self.kernel),
            as_array(self.bias),
            packed,
            writes=output,
            activation=activation,
        )

    def save(self, store: Any, prefix: str = "") -> None:
        store[prefix + "kernel"] = self.kernel.numpy()
        store[prefix + "bias"] = self.bias.numpy()

    @classmethod
    def load(cls, store: Any, prefix: str = "") -> FloatMatmul:
        kernel = np.asarray(store[prefix + "kernel"])
        if kernel.dtype != np.float32:
            raise ValueError(
                f"The stored weights {prefix + 'kernel'!r} must be float32; found {kernel.dtype}."
            )
        return cls(kernel, np.asarray(store[prefix + "bias"], np.float32))
