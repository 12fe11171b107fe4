"""`QuantEinsumDense`: `keras.layers.EinsumDense` plus an observer of its input."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.einsum_product import EinsumProduct, explicit, not_one_product
from keras_int8nmt.layers.matmuls import MatMul, WeightMatMul, array
from keras_int8nmt.layers.observing.exported import activated
from keras_int8nmt.layers.observing.graph_histogram import broadcast_mask
from keras_int8nmt.layers.observing.learned_threshold import (
    split_learned,
    start_learned,
    with_learned,
)
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.plain_files import require_weights
from keras_int8nmt.layers.quant_layer import QuantLayer


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantEinsumDense(keras.layers.EinsumDense, QuantLayer):
    """A `keras.layers.EinsumDense` that can be calibrated, simulated in INT8 and converted.

    Until told otherwise it computes what its Keras parent computes, and trains like it. Its
    observer, `input_observer`, watches the input as `QuantDense`'s does; the kernel has one scale
    for each entry of its output axes, and the bias stays float.

    An equation that is one product of two matrices can become INT8: the kernel's axes are summed
    over or in the output, the input's likewise, none of them both. Any other one computes in float
    and `unsupported_reasons()` says why.

    Args:
        The arguments of `keras.layers.EinsumDense`.

    Call arguments:
        inputs: Float tensor of the axes in `equation`.
        training: As in `keras.layers.EinsumDense`.
        mask: Bool mask over the leading axes of `inputs`, keyword-only; by default the Keras mask
            that `inputs` carries. It changes no output: masked positions are not observed.

    Example:

        >>> layer = QuantEinsumDense("abc,cde->abde", (None, 2, 4), bias_axes="de")
        >>> layer(keras.ops.ones((1, 3, 8))).shape
        (1, 3, 2, 4)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        summed = 1
        if not not_one_product(self.equation):
            inputs, kernel = self.equation.split("->")[0].replace("...", "").split(",")
            summed = len(set(inputs) & set(kernel))
        self.input_observer = Observer(channel_axes=summed, name="input_observer")

    # The arguments of the installed Keras, which differ from version to version.
    __init__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        keras.layers.EinsumDense.__init__
    )

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        shape = input_shape
        if not not_one_product(self.equation):
            shape = self.product.row_shape(input_shape)
        self.input_observer.build(shape)

    def load_own_variables(self, store: Any) -> None:
        require_weights(self, store)
        super().load_own_variables(store)

    def get_build_config(self) -> Any:
        return with_learned(super().get_build_config(), [self.input_observer])

    def build_from_config(self, config: Any) -> None:
        config, names = split_learned(config)
        super().build_from_config(config)
        start_learned([self.input_observer], names)

    @property
    def product(self) -> EinsumProduct:
        """The equation as one product, once the layer is built."""
        return EinsumProduct(explicit(self.equation, self.input_spec.ndim))

    def call(self, inputs: Any, training: bool | None = None, *, mask: Any = None) -> Any:
        if not_one_product(self.equation):
            return super().call(inputs, training=training)
        product = self.product
        rows = None
        if mask is not None:
            # Over the leading axes of the input, which may not be those of the rows.
            rows = lambda: product.to_rows(broadcast_mask(mask, inputs))  # noqa: E731
        x = product.observed(inputs, lambda x: self.input_observer.watch(x, rows))
        kernel = product.quantized(self.kernel, self.input_observer.quantize_weights)
        x = ops.einsum(self.equation, x, kernel)
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

    @property
    def column_shape(self) -> tuple[int, ...]:
        """The sizes of the kernel's output axes, in the order of the output."""
        product = self.product
        order = product.kernel_order[len(product.summed) :]
        return tuple(int(self.kernel.shape[axis]) for axis in order)

    @property
    def bias_of_columns(self) -> bool:
        """Whether there is a bias, and it has axes of the kernel alone: the product adds it."""
        return self.bias is not None and set(self.bias_axes) <= set(self.product.columns)

    def matmuls(self) -> list[MatMul]:
        product = self.product
        bias = None
        if self.bias_of_columns:
            bias = lambda: product.column_bias(array(self.bias), self.column_shape)  # noqa: E731
        return [
            WeightMatMul(
                self.path,
                lambda: product.matrix(array(self.kernel)),
                bias,
                (self.input_observer,),
                of_input=True,
            )
        ]

    def unsupported_reasons(self) -> list[str]:
        """Why this layer can't become INT8; empty if it can."""
        reasons = [not_one_product(self.equation)]
        if self.quantization_mode is not None:
            reasons.append(f"Keras' own {self.quantization_mode} quantization is on")
        return [reason for reason in reasons if reason]
