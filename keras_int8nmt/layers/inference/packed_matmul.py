"""One INT8 matrix product with everything fixed: packed weights, scales, folded bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import as_array, require_finite_array
from keras_int8nmt.layers.inference.frozen_layer import output_step
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import (
    QuantParams,
    combine_scales,
    fold_bias,
    fold_output_scale,
    quantize_weights,
)
from keras_int8nmt.runtime.model_spec import Part
from keras_int8nmt.runtime.spec_parts import int8_product, written

# Activations that commute with a positive factor: the output scale can be folded into the scales
# and the bias, and the back end then writes int8 by itself.
_HOMOGENEOUS = ("none", "relu")


@dataclass(frozen=True)
class Section:
    """A group of output columns: float weights `[k, n]`, bias `[n]`, and how they are written.

    `output` is None for float32. The sections of one product share input, activation and output
    type, so that, for example, Q, K and V come from one product with three output scales.
    """

    kernel: np.ndarray
    bias: np.ndarray | None
    output: QuantParams | None = None


class PackedMatmul:
    """`y = act(float(x @ w) * scales + bias)`, written as float32, int8 or uint8.

    It is frozen: the weights live in a blob packed for this CPU and can't be assigned, so they are
    never stale. `save` writes plain int8 weights, `load` packs them for the CPU at hand.
    """

    def __init__(self, kernel: np.ndarray, scales: np.ndarray, bias: np.ndarray) -> None:
        self.shape = tuple(kernel.shape)
        require_finite_array("scales", scales)
        require_finite_array("bias", bias)
        self.packed = ops.pack_weights(tf.constant(kernel, tf.int8))
        self.scales = tf.constant(scales, tf.float32)
        self.bias = tf.constant(bias, tf.float32)

    @classmethod
    def from_float(
        cls,
        sections: list[Section],
        input_params: QuantParams,
        activation: str = "none",
        per_channel: bool = True,
        weight_bits: int = 8,
    ) -> PackedMatmul:
        """Quantizes float weights and folds what calibration knows.

        Each output channel has a weight scale of its own; without `per_channel` each section has
        one.

        The zero point of the input goes into the bias; the scale of an integer output goes into
        scales and bias where the activation allows it (see `output_step`).
        """
        kernels, all_scales, biases = [], [], []
        for section in sections:
            kernel, weight_scale = quantize_weights(section.kernel, per_channel, weight_bits)
            scales = combine_scales(input_params, weight_scale)
            bias = fold_bias(section.bias, kernel, weight_scale, input_params)
            if section.output is not None and cls._folds(section.output, activation):
                scales, bias = fold_output_scale(scales, bias, section.output.scale)
            kernels.append(kernel)
            all_scales.append(scales)
            biases.append(bias)
        return cls(
            np.concatenate(kernels, axis=1), np.concatenate(all_scales), np.concatenate(biases)
        )

    @staticmethod
    def _folds(output: QuantParams, activation: str) -> bool:
        return output.zero_point == 0 and activation in _HOMOGENEOUS

    @classmethod
    def output_step(
        cls, output: QuantParams | None, activation: str, folded: bool = True
    ) -> dict[str, Any]:
        """The output arguments of `ops.int8_matmul` that go with `from_float`'s folding.

        `folded`: whether `from_float` was told of `output`, and has folded it where it can.
        """
        if output is not None and folded and cls._folds(output, activation):
            return {"out_dtype": output.dtype}
        return output_step(output)

    def __call__(self, x: tf.Tensor, activation: str = "none", **output_step: Any) -> tf.Tensor:
        return ops.int8_matmul(
            x, self.packed, self.scales, self.bias, activation=activation, **output_step
        )

    def kernel(self) -> np.ndarray:
        """The int8 weights `[k, n]`, unpacked."""
        return np.asarray(ops.unpack_weights(self.packed))

    def spec(
        self,
        packed: bool,
        reads: QuantParams,
        output: QuantParams | None = None,
        activation: str = "none",
        folded: bool = True,
    ) -> Part:
        """Its part of a `ModelSpec`, between an input and an output of these codes."""
        step = self.output_step(output, activation, folded)
        return int8_product(
            lambda packed: as_array(self.packed) if packed else self.kernel(),
            (self.shape[0], self.shape[1]),
            as_array(self.scales),
            as_array(self.bias),
            packed,
            reads=reads,
            writes=None if output is None else written(output, step.get("out_scale", 1.0)),
            activation=activation,
        )

    def save(self, store: Any, prefix: str = "") -> None:
        store[prefix + "kernel"] = self.kernel()
        store[prefix + "scales"] = self.scales.numpy()
        store[prefix + "bias"] = self.bias.numpy()

    @classmethod
    def load(cls, store: Any, prefix: str = "") -> PackedMatmul:
        kernel = np.asarray(store[prefix + "kernel"])
        if kernel.dtype != np.int8 or kernel.ndim != 2:
            raise ValueError(
                f"The stored weights {prefix + 'kernel'!r} must be int8 of rank 2; found "
                f"{kernel.dtype} of shape {kernel.shape}."
            )
        scales = np.asarray(store[prefix + "scales"], np.float32)
        bias = np.asarray(store[prefix + "bias"], np.float32)
        for name, value in (("scales", scales), ("bias", bias)):
            if value.shape != (kernel.shape[1],):
                raise ValueError(
                    f"The stored {prefix + name!r} must have shape ({kernel.shape[1]},) to go "
                    f"with weights of shape {kernel.shape}; found {value.shape}."
                )
        return cls(kernel, scales, bias)
