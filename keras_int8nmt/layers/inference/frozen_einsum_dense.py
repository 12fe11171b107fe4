"""`FrozenEinsumDense`: what `QuantEinsumDense` becomes; inference only."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.einsum_product import EinsumProduct
from keras_int8nmt.layers.inference.arrays import require_finite_array
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer, as_float32
from keras_int8nmt.quantization import CODE_RANGE, QuantParams


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FrozenEinsumDense(FrozenLayer):
    """An einsum of an input and a frozen kernel, computed by a dense layer between two reshapes.

    Made by `convert` from a `QuantEinsumDense`. The input becomes `[rows..., k]`, `dense` gives
    `[rows..., n]`, and that becomes the output. A transposition is made only where the axes that
    are summed over are not the last ones.

    Args:
        dense: The product, its bias and activation: an `Int8Dense`, a `DynamicDense` where scales
            are dynamic, or a `FloatDense` where a policy says so.
        equation: Of the einsum, with a letter for each axis.
        summed_shape: Sizes of the axes that are summed over, in the order of the input.
        column_shape: Sizes of the kernel's output axes, in the order of the output.
        activation: Keras activation of the output, where `bias_shape` is given; else `dense` has
            it.
        bias_shape: Shape of a float bias over axes that the input has too, which broadcasts against
            the output; None where `dense` has the bias, or there is none.

    Call arguments:
        Those of `QuantEinsumDense`.
    """

    def __init__(
        self,
        dense: FrozenLayer | dict[str, Any],
        equation: str,
        summed_shape: Sequence[int],
        column_shape: Sequence[int],
        activation: Any = None,
        bias_shape: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # As in the float layer, whose output carries no mask.
        self.supports_masking = False
        if isinstance(dense, dict):
            dense = keras.saving.deserialize_keras_object(dense)
        if not isinstance(dense, FrozenLayer):
            raise ValueError(f"`dense` must be a converted dense layer; received {dense!r}.")
        self.dense = dense
        self.equation = equation
        self.summed_shape = tuple(summed_shape)
        self.column_shape = tuple(column_shape)
        self.activation = keras.activations.get(activation)
        self.bias_shape = None if bias_shape is None else tuple(bias_shape)
        self._bias: Any = None
        self._product = EinsumProduct(equation)

    @classmethod
    def from_dense(
        cls, dense: FrozenLayer, equation: str, bias: np.ndarray | None = None, **kwargs: Any
    ) -> FrozenEinsumDense:
        """The layer of a converted product, and of a bias that the product can't add."""
        shape = None if bias is None else bias.shape
        layer = cls(dense, equation, bias_shape=shape, **kwargs)
        if bias is not None:
            layer._set_bias(bias)
        return layer

    def _set_bias(self, bias: np.ndarray) -> None:
        if bias.shape != self.bias_shape:
            raise ValueError(
                f"The bias of layer {self.name!r} must have shape {self.bias_shape}; found "
                f"{bias.shape}."
            )
        require_finite_array("bias", bias)
        self._bias = tf.constant(bias, tf.float32)

    def code_inputs(self, given: Collection[str]) -> dict[str, QuantParams]:
        return self.dense.code_inputs(given)

    def writing(self, params: QuantParams) -> FrozenEinsumDense | None:
        # A bias that the product can't add, and what follows it, are computed of floats.
        dense = self.dense.writing(params) if self.bias_shape is None else None
        if dense is None:
            return None
        layer = FrozenEinsumDense(
            dense,
            self.equation,
            self.summed_shape,
            self.column_shape,
            self.activation,
            name=self.name,
            dtype=self.dtype_policy,
        )
        layer._path = self._path
        return layer

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, *, mask: Any = None
    ) -> tf.Tensor:
        product = self._product
        x = self._product.to_rows(as_float32(inputs))
        rows = tf.shape(x)[: len(product.rows)]
        known = x.shape[: len(product.rows)]
        x = _reshaped(x, rows, known, (math.prod(self.summed_shape),))
        y = self.dense(x, training=training)
        y = _reshaped(y, rows, known, self.column_shape)
        if product.output_order != tuple(range(len(product.output_order))):
            y = tf.transpose(y, product.output_order)
        if self.bias_shape is not None:
            y = self.activation(y + self._require(self._bias))
        return self.given(y)

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, *, mask: Any = None
    ) -> keras.KerasTensor:
        shape = self._product.output_shape(inputs.shape, self.column_shape)
        rows = keras.KerasTensor((math.prod(self.summed_shape),))
        written = self.dense.compute_output_spec(rows, training).dtype
        codes = written in CODE_RANGE
        return keras.KerasTensor(shape, dtype=written if codes else self.float_type)

    @property
    def precisions(self) -> set[str]:
        return self.dense.precisions

    def save_own_variables(self, store: Any) -> None:
        if self.bias_shape is not None:
            store["bias"] = self._require(self._bias).numpy()

    def load_own_variables(self, store: Any) -> None:
        if self.bias_shape is not None:
            self._set_bias(np.asarray(store["bias"], np.float32))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            dense=keras.saving.serialize_keras_object(self.dense),
            equation=self.equation,
            summed_shape=list(self.summed_shape),
            column_shape=list(self.column_shape),
            activation=keras.activations.serialize(self.activation),
            bias_shape=None if self.bias_shape is None else list(self.bias_shape),
        )
        return config


def _reshaped(
    x: tf.Tensor, rows: tf.Tensor, known: Sequence[int | None], last: tuple[int, ...]
) -> tf.Tensor:
    """`[rows..., last...]`, whose static shape says what is `known` of the rows."""
    x = tf.reshape(x, tf.concat([rows, last], 0))
    x.set_shape([*known, *last])
    return x
