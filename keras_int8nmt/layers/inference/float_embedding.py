"""`FloatEmbedding`: what `Int8Gather` becomes in a model without INT8; inference only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import as_array, require_finite_array
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer, as_dense
from keras_int8nmt.runtime.model_spec import Part


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FloatEmbedding(FrozenLayer):
    """Embedding rows from a frozen float32 table; the interface of `Int8Embedding`.

    Args:
        input_dim: Rows of the table (vocabulary size).
        output_dim: Columns of the table.
        mask_zero: As in `keras.layers.Embedding`.

    Call arguments:
        inputs: Token ids, integer `[...]`, each in `[0, input_dim)`.
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

    @classmethod
    def from_table(
        cls, table: np.ndarray, mask_zero: bool = False, **kwargs: Any
    ) -> FloatEmbedding:
        """The layer for a float table `[input_dim, output_dim]`."""
        rows, columns = table.shape
        layer = cls(rows, columns, mask_zero, **kwargs)
        require_finite_array("table", table)
        layer._table = tf.constant(table, tf.float32)
        return layer

    @property
    def table(self) -> tf.Tensor:
        """float32 `[input_dim, output_dim]`."""
        return self._require(self._table)

    @property
    def embeddings(self) -> tf.Tensor:
        """The table, for code of a user that multiplies by it as `Embedding` has it."""
        return self.given(self.table)

    def call(self, inputs: tf.Tensor, multiplier: float = 1.0) -> tf.Tensor:
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self.call(inputs.flat_values, multiplier))
        ids = tf.cast(as_dense(inputs), tf.int32)
        return self.given(tf.gather(self.table, ids) * multiplier)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return keras.ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_spec(self, inputs: Any, multiplier: float = 1.0) -> keras.KerasTensor:
        return keras.KerasTensor((*inputs.shape, self.output_dim), dtype=self.float_type)

    def spec(self) -> Part:
        """Its part of a `ModelSpec`."""
        return {"table": as_array(self.table)}

    def save_own_variables(self, store: Any) -> None:
        store["table"] = self.table.numpy()

    def load_own_variables(self, store: Any) -> None:
        table = np.asarray(store["table"])
        expected = (self.input_dim, self.output_dim)
        if table.dtype != np.float32 or table.shape != expected:
            raise ValueError(
                f"Layer {self.name!r} expects a float32 table of shape {expected}; the stored one "
                f"is {table.dtype} of shape {table.shape}."
            )
        require_finite_array("table", table)
        self._table = tf.constant(table)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            input_dim=self.input_dim, output_dim=self.output_dim, mask_zero=self.mask_zero
        )
        return config
