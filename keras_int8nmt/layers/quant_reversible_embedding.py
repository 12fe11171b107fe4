"""`QuantReversibleEmbedding`: `keras.layers.ReversibleEmbedding` that can become INT8."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.keras_masks import take_masks, with_mask
from keras_int8nmt.layers.matmuls import MatMul, WeightMatMul, array
from keras_int8nmt.layers.observing.branches import apply_if
from keras_int8nmt.layers.observing.exported import (
    gathered_codes,
    is_for_litert,
    product_output,
)
from keras_int8nmt.layers.observing.fake_quant import fake_quantize_rows
from keras_int8nmt.layers.observing.learned_threshold import (
    split_learned,
    start_learned,
    with_learned,
)
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.observing.switch import SIMULATING, says
from keras_int8nmt.layers.plain_files import require_weights
from keras_int8nmt.layers.quant_layer import QuantLayer

# Keras 3.12 has none: the class is there and can't be made.
_Parent: Any = getattr(keras.layers, "ReversibleEmbedding", keras.layers.Embedding)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantReversibleEmbedding(_Parent, QuantLayer):
    """A `keras.layers.ReversibleEmbedding` that can be calibrated, simulated and converted.

    Until told otherwise it computes what its Keras parent computes, and trains like it. Its
    observer, `reverse_input`, watches what is multiplied by the table with `reverse=True`; it sees
    nothing where the layer only looks rows up. When simulating, rows and reverse product use the
    values that one int8 table has, with a scale for each row.

    `tie_weights=False` computes in float, and `unsupported_reasons()` says so.

    Args:
        The arguments of `keras.layers.ReversibleEmbedding`.

    Call arguments:
        inputs: Ids, or with `reverse` float `[..., output_dim]`.
        reverse: As in the parent.
        mask: Bool mask over the leading axes of `inputs`, keyword-only; by default the Keras mask
            that `inputs` carries. It changes no output: masked positions are not observed.

    Example:

        >>> layer = QuantReversibleEmbedding(100, 16)
        >>> layer(layer(keras.ops.array([[1, 2, 3]])), reverse=True).shape
        (1, 3, 100)
    """

    depends_on_calls = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _Parent is keras.layers.Embedding:
            raise ImportError(
                "QuantReversibleEmbedding needs Keras 3.13 or later, which has a "
                f"ReversibleEmbedding; this is {keras.__version__}."
            )
        weights = kwargs.pop("weights", None)
        super().__init__(*args, **kwargs)
        self.reverse_input = Observer(name="reverse_input", optional=True)
        # Whether some call asked for the reverse product.
        self._is_reversed = False
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list) else [weights])

    # The arguments of the installed Keras, which differ from version to version.
    __init__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        _Parent.__init__
    )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        super().build(input_shape)
        self.reverse_input.build((None, self.output_dim))

    def load_own_variables(self, store: Any) -> None:
        require_weights(self, store)
        super().load_own_variables(store)

    def get_build_config(self) -> Any:
        return with_learned(super().get_build_config(), [self.reverse_input])

    def build_from_config(self, config: Any) -> None:
        config, names = split_learned(config)
        super().build_from_config(config)
        start_learned([self.reverse_input], names)

    def call(self, inputs: Any, reverse: bool = False, *, mask: Any = None) -> Any:
        self.was_called = True
        if not reverse:
            return self._rows(inputs)
        self._is_reversed = True
        if self.unsupported_reasons():
            return super().call(inputs, reverse=True)
        x = self.reverse_input.watch(ops.convert_to_tensor(inputs), mask)
        kernel = self.reverse_input.quantize_weights(ops.transpose(self.embeddings))
        if self.reverse_dtype is not None:
            x, kernel = (ops.cast(each, self.reverse_dtype) for each in (x, kernel))
        logits = product_output(self, "reverse", ops.matmul(x, kernel))
        if self.logit_soft_cap is not None:
            logits = ops.tanh(logits / self.logit_soft_cap) * self.logit_soft_cap
        return logits

    def _rows(self, ids: Any) -> Any:
        rows = super().call(ids)
        if is_for_litert() and not self.unsupported_reasons():
            values = ops.cast(gathered_codes(lambda: self.embeddings, ids), rows.dtype)
            return with_mask(values, take_masks(rows))
        if self.unsupported_reasons():
            return rows
        # The parent hangs the mask on what it gives.
        mask = take_masks(rows)
        # TensorFlow's ragged tensors, of ids in lists of different lengths, pass no branch.
        values = getattr(rows, "flat_values", rows)
        simulating = says(self.reverse_input.switch, SIMULATING)
        values = apply_if(simulating, fake_quantize_rows, values, straight_through=True)
        rows = rows.with_flat_values(values) if hasattr(rows, "flat_values") else values
        return with_mask(rows, mask)

    def quantized_call(self, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        # Keras' own quantization, which knows no masks.
        return super().quantized_call(*args, **kwargs)

    def compute_output_spec(self, inputs: Any, reverse: bool = False, *, mask: Any = None) -> Any:
        self._is_reversed = self._is_reversed or reverse
        return super().compute_output_spec(inputs, reverse=reverse)

    def assume_calls(self) -> None:
        self._is_reversed = True

    def matmuls(self) -> list[MatMul]:
        """The reverse product, where some call has asked for it."""
        if not (self._is_reversed or self.reverse_input.is_calibrated):
            return []
        return [
            WeightMatMul(
                self.path,
                lambda: array(self.embeddings).T,
                watchers=(self.reverse_input,),
                part="reverse",
            )
        ]

    def unsupported_reasons(self) -> list[str]:
        """Why this layer can't become INT8; empty if it can."""
        reasons = [] if self.tie_weights else ["tie_weights=False is computed in float"]
        if self.quantization_mode is not None:
            reasons.append(f"Keras' own {self.quantization_mode} quantization is on")
        return reasons
