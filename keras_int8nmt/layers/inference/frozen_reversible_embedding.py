"""`FrozenReversibleEmbedding`: what `QuantReversibleEmbedding` becomes; inference only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.arrays import require_finite_array
from keras_int8nmt.layers.inference.dynamic_matmul import DynamicMatmul
from keras_int8nmt.layers.inference.float_matmul import FloatMatmul
from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    as_codes,
    as_float32,
    optional_params,
    params_config,
)
from keras_int8nmt.layers.inference.packed_matmul import PackedMatmul
from keras_int8nmt.layers.keras_masks import with_mask
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import (
    PRECISIONS,
    QuantParams,
    combine_scales,
    fold_bias,
    inverse_weight_scales,
    quantize_weights,
)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class FrozenReversibleEmbedding(FrozenLayer):
    """Rows of a frozen table, and the product of a tensor with all of them; inference only.

    Made by `convert` from a `QuantReversibleEmbedding`. Both use one table, stored once: int8 with
    a scale a row, or float32 where a policy says so of the product. In memory the product has the
    int8 table packed for the CPU besides.

    Args:
        input_dim: Rows of the table (vocabulary size).
        output_dim: Columns of the table.
        mask_zero, reverse_dtype, logit_soft_cap: As in `keras.layers.ReversibleEmbedding`.
        precision: "int8" or "float32".
        reverses: Whether there is a product; without it only rows can be asked for.
        input_params: `QuantParams` of the product's input; None where each row has a scale of its
            own, and for "float32".

    Call arguments:
        inputs: Ids in `[0, input_dim)`, integer `[...]`, or with `reverse` float
            `[..., output_dim]`. An id out of range is an error.
        reverse: Whether the product is asked for.

    Returns:
        `[..., output_dim]`, or with `reverse` `[..., input_dim]`.

    Raises:
        ValueError: for another `precision`, for `reverse` where there is no product, and when
            called before it has weights.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        *,
        precision: str = "int8",
        reverses: bool = False,
        input_params: QuantParams | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if precision not in PRECISIONS:
            raise ValueError(
                f"`precision` must be {' or '.join(map(repr, PRECISIONS))}; received {precision!r}."
            )
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.mask_zero = mask_zero
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap
        self.precision = precision
        self.reverses = reverses
        self.input_params = optional_params(input_params)
        # As in the float layer.
        self.autocast = False
        self.supports_masking = mask_zero
        self._vectors: dict[str, np.ndarray] = {}
        self._table: Any = None
        self._inv_scales: Any = None
        self._matmul: PackedMatmul | DynamicMatmul | FloatMatmul | None = None

    @classmethod
    def from_table(
        cls,
        table: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        per_channel: bool = True,
        weight_bits: int = 8,
        **kwargs: Any,
    ) -> FrozenReversibleEmbedding:
        """The layer for a float table `[input_dim, output_dim]`; a channel is one of its rows.

        `bias`: of the product, float32 `[input_dim]`, or None for zeros.
        """
        rows, columns = table.shape
        layer = cls(rows, columns, **kwargs)
        arrays = {"table": np.asarray(table, np.float32)}
        if layer.precision == "int8":
            codes, scale = quantize_weights(table.T, per_channel, weight_bits)
            arrays = {"table": np.ascontiguousarray(codes.T), "scales": scale}
        if layer.reverses:
            arrays["bias"] = np.zeros(rows, np.float32) if bias is None else bias
        layer._set_arrays(arrays)
        return layer

    def _expected(self) -> dict[str, tuple[type, tuple[int, ...]]]:
        """Type and shape of what is stored, by its name."""
        int8 = self.precision == "int8"
        table = np.int8 if int8 else np.float32
        expected: dict[str, tuple[type, tuple[int, ...]]] = {}
        expected["table"] = table, (self.input_dim, self.output_dim)
        for name in ("scales",) * int8 + ("bias",) * self.reverses:
            expected[name] = np.float32, (self.input_dim,)
        return expected

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Checks what is stored, and makes of it what the calls need."""
        for name, (dtype, shape) in self._expected().items():
            found = arrays[name]
            if found.dtype != dtype or found.shape != shape:
                raise ValueError(
                    f"Layer {self.name!r} expects {name!r} of {np.dtype(dtype).name} and shape "
                    f"{shape}; the stored one is {found.dtype} of shape {found.shape}."
                )
            require_finite_array(name, found)
        table = arrays["table"]
        self._vectors = {name: array for name, array in arrays.items() if name != "table"}
        self._table = tf.constant(table)
        if self.precision == "int8":
            self._inv_scales = tf.constant(np.float32(1) / arrays["scales"], tf.float32)
        if self.reverses:
            self._matmul = self._product(table.T, arrays)

    def _product(
        self, kernel: np.ndarray, arrays: dict[str, np.ndarray]
    ) -> PackedMatmul | DynamicMatmul | FloatMatmul:
        bias = arrays["bias"]
        if self.precision == "float32":
            return FloatMatmul(kernel, bias)
        scales, params = arrays["scales"], self.input_params
        if params is None:
            return DynamicMatmul(PackedMatmul(kernel, inverse_weight_scales(scales), bias))
        folded = fold_bias(bias, kernel, scales, params)
        return PackedMatmul(kernel, combine_scales(params, scales), folded)

    def call(self, inputs: tf.Tensor, reverse: bool = False, *, mask: Any = None) -> tf.Tensor:
        return self._logits(inputs) if reverse else self._rows(inputs)

    def _rows(self, inputs: tf.Tensor) -> tf.Tensor:
        table = self._require(self._table)
        ids = tf.cast(inputs, tf.int32)
        if self.precision == "int8":
            rows = ops.embedding_lookup(table, self._inv_scales, ids)
        else:
            rows = tf.gather(table, ids)
        return with_mask(self.given(rows), tf.not_equal(inputs, 0) if self.mask_zero else None)

    def _logits(self, inputs: tf.Tensor) -> tf.Tensor:
        self._require(self._table)
        if self._matmul is None:
            raise ValueError(
                f"Layer {self.name!r} was converted without its reverse product, which no call had "
                "asked for until then; calibrate the model with one, or call it before `convert`."
            )
        x = as_float32(inputs)
        if isinstance(self._matmul, PackedMatmul):
            assert self.input_params is not None
            logits = self._matmul(as_codes(x, self.input_params), out_dtype="float32")
        else:
            logits = self._matmul(x)
        if self.logit_soft_cap is not None:
            logits = tf.tanh(logits / self.logit_soft_cap) * self.logit_soft_cap
        return tf.cast(logits, self._logits_type)

    @property
    def _logits_type(self) -> str:
        # The float layer multiplies by its table as it is.
        return str(self.reverse_dtype or self.variable_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: as in the float layer the call hangs masks on rows."""
        return None

    def compute_output_spec(
        self, inputs: Any, reverse: bool = False, *, mask: Any = None
    ) -> keras.KerasTensor:
        if reverse:
            return keras.KerasTensor((*inputs.shape[:-1], self.input_dim), dtype=self._logits_type)
        return keras.KerasTensor((*inputs.shape, self.output_dim), dtype=self.float_type)

    @property
    def precisions(self) -> set[str]:
        return {self.precision} if self.reverses else set()

    def save_own_variables(self, store: Any) -> None:
        store["table"] = self._require(self._table).numpy()
        for name, value in self._vectors.items():
            store[name] = value

    def load_own_variables(self, store: Any) -> None:
        self._set_arrays({name: np.asarray(store[name]) for name in self._expected()})

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            input_dim=self.input_dim,
            output_dim=self.output_dim,
            mask_zero=self.mask_zero,
            reverse_dtype=self.reverse_dtype,
            logit_soft_cap=self.logit_soft_cap,
            precision=self.precision,
            reverses=self.reverses,
            input_params=params_config(self.input_params),
        )
        return config
