"""One INT8 matrix product whose input is quantized row by row, by its own largest values."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import as_array
from keras_int8nmt.layers.inference.packed_matmul import PackedMatmul
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import inverse_weight_scales, quantize_weights
from keras_int8nmt.runtime.model_spec import Part
from keras_int8nmt.runtime.spec_parts import int8_product

# A float kernel `[k, n]` and its bias `[n]` or None.
Weights = tuple[np.ndarray, np.ndarray | None]


class DynamicMatmul:
    """`y = act(x @ weights + bias)` of float32 `x`, as `quantization.dynamic_matmul` computes it.

    Frozen, as `PackedMatmul` is, which it holds: the same arrays, with the value of one step of
    each channel's weights as `scales`, since nothing is known of the input.
    """

    def __init__(self, matmul: PackedMatmul) -> None:
        self._matmul = matmul

    @classmethod
    def from_float(cls, *sections: Weights, per_channel: bool = True, weight_bits: int = 8) -> Self:
        """Quantizes float weights by `quantize_weights`; sections lie side by side."""
        kernels, scales, biases = [], [], []
        for weights, bias in sections:
            kernel, weight_scale = quantize_weights(weights, per_channel, weight_bits)
            kernels.append(kernel)
            scales.append(inverse_weight_scales(weight_scale))
            biases.append(np.zeros(kernel.shape[1], np.float32) if bias is None else bias)
        arrays = np.concatenate(kernels, axis=1), np.concatenate(scales), np.concatenate(biases)
        return cls(PackedMatmul(*arrays))

    @property
    def shape(self) -> tuple[int, ...]:
        """`(k, n)`."""
        return self._matmul.shape

    @property
    def packed(self) -> tf.Tensor:
        """The weights as `ops.dynamic_matmul` reads them."""
        return self._matmul.packed

    @property
    def scales(self) -> tf.Tensor:
        """float32 `[n]`."""
        return self._matmul.scales

    @property
    def bias(self) -> tf.Tensor:
        """float32 `[n]`."""
        return self._matmul.bias

    def kernel(self) -> np.ndarray:
        """The int8 weights `[k, n]`, unpacked."""
        return self._matmul.kernel()

    def __call__(self, x: tf.Tensor, activation: str = "none") -> tf.Tensor:
        if x.dtype != tf.float32:
            raise ValueError(
                "A product with dynamic scales reads float32 values; received a tensor of "
                f"{x.dtype.name}."
            )
        return ops.dynamic_matmul(x, self.packed, self.scales, self.bias, activation=activation)

    def spec(self, packed: bool, activation: str = "none") -> Part:
        """Its part of a `ModelSpec`."""
        return int8_product(
            lambda packed: as_array(self.packed) if packed else self.kernel(),
            (self.shape[0], self.shape[1]),
            as_array(self.scales),
            as_array(self.bias),
            packed,
            reads=None,
            activation=activation,
        )

    def save(self, store: Any, prefix: str = "") -> None:
        self._matmul.save(store, prefix)

    @classmethod
    def load(cls, store: Any, prefix: str = "") -> Self:
        return cls(PackedMatmul.load(store, prefix))
