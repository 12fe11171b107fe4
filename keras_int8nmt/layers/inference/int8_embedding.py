"""`Int8Embedding`: what `Int8Gather` becomes; rows out of an int8 table."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import as_array, require_finite_array
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer, as_dense
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import quantize_weights
from keras_int8nmt.runtime.model_spec import Part


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8Embedding(FrozenLayer):
    """Embedding rows from an int8 table with one scale a row (arXiv 1906.00532, section 5.3).

    Args:
        input_dim: Rows of the table (vocabulary size).
        output_dim: Columns of the table.
        mask_zero: As in `keras.layers.Embedding`.

    Call arguments:
        inputs: Token ids, integer `[...]`, each in `[0, input_dim)`; ragged or sparse ones as in
            the parent (what a sparse one leaves out is id 0).
        multiplier: A factor for each value, such as sqrt(model_dim).

    Returns:
        float32 `[..., output_dim]`. An id out of range is an error.
    """

    def __init__(
        self, input_dim: int, output_dim: int, mask_zero: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.mask_zero = mask_zero
        self._table: Any = None
        self._inv_scales: Any = None

    @classmethod
    def from_table(
        cls,
        table: np.ndarray,
        mask_zero: bool = False,
        *,
        per_channel: bool = True,
        **kwargs: Any,
    ) -> Int8Embedding:
        """The layer for a float table `[input_dim, output_dim]`; a channel is one of its rows."""
        rows, columns = table.shape
        layer = cls(rows, columns, mask_zero, **kwargs)
        # A row of the table is a column of the tied output projection: same codes, same scales.
        codes, scale = quantize_weights(table.T, per_channel)
        layer._table = tf.constant(np.ascontiguousarray(codes.T), tf.int8)
        layer._inv_scales = tf.constant(np.float32(1) / scale, tf.float32)
        return layer

    @property
    def table(self) -> tf.Tensor:
        """int8 `[input_dim, output_dim]`."""
        return self._require(self._table)

    @property
    def inv_scales(self) -> tf.Tensor:
        """float32 `[input_dim]`: the value of one step of each row."""
        return self._require(self._inv_scales)

    @property
    def embeddings(self) -> tf.Tensor:
        """The table as floats, for code of a user that multiplies by it as `Embedding` has it."""
        return self.given(tf.cast(self.table, tf.float32) * self.inv_scales[:, tf.newaxis])

    def call(self, inputs: tf.Tensor, multiplier: float = 1.0) -> tf.Tensor:
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self.call(inputs.flat_values, multiplier))
        table = self._require(self._table)
        ids = tf.cast(as_dense(inputs), tf.int32)
        return self.given(ops.embedding_lookup(table, self._inv_scales, ids, multiplier=multiplier))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return keras.ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_spec(self, inputs: Any, multiplier: float = 1.0) -> keras.KerasTensor:
        return keras.KerasTensor((*inputs.shape, self.output_dim), dtype=self.float_type)

    def spec(self) -> Part:
        """Its part of a `ModelSpec`."""
        return {"table": as_array(self.table), "inv_scales": as_array(self.inv_scales)}

    def save_own_variables(self, store: Any) -> None:
        store["table"] = self._require(self._table).numpy()
        store["inv_scales"] = self._inv_scales.numpy()

    def load_own_variables(self, store: Any) -> None:
        table = np.asarray(store["table"])
        expected = (self.input_dim, self.output_dim)
        if table.dtype != np.int8 or table.shape != expected:
            raise ValueError(
                f"Layer {self.name!r} expects an int8 table of shape {expected}; the stored one is "
                f"{table.dtype} of shape {table.shape}."
            )
        self._table = tf.constant(table)
        inv_scales = np.asarray(store["inv_scales"], np.float32)
        require_finite_array("inv_scales", inv_scales)
        self._inv_scales = tf.constant(inv_scales)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            input_dim=self.input_dim, output_dim=self.output_dim, mask_zero=self.mask_zero
        )
        return config
