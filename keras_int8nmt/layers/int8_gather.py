"""`Int8Gather`: `keras.layers.Embedding` whose table can become int8, one scale a row."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.observing.branches import apply_if
from keras_int8nmt.layers.observing.exported import gathered_codes, is_for_litert
from keras_int8nmt.layers.observing.fake_quant import fake_quantize_rows
from keras_int8nmt.layers.observing.switch import OFF, SIMULATING, Switch, says
from keras_int8nmt.layers.plain_files import require_weights
from keras_int8nmt.layers.quant_layer import QuantLayer


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8Gather(keras.layers.Embedding, QuantLayer):
    """A `keras.layers.Embedding` that gathers from an int8 table once converted.

    Until then the table is float and trains (arXiv 1906.00532, section 5.3, quantizes the gather).
    It needs no calibration: the rows are constants, and each has its own scale, 127 / max |row|.
    When simulating, the rows are rounded as the int8 table will be, with straight-through
    gradients.

    Args:
        The arguments of `keras.layers.Embedding`.

    Example:

        >>> Int8Gather(100, 16)(keras.ops.array([[1, 2, 3]])).shape
        (1, 3, 16)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(keras.layers.Embedding.__init__).bind(self, *args, **kwargs)
        weights = bound.arguments.pop("weights", None)
        super().__init__(*bound.args[1:], **bound.kwargs)
        self.state = Switch(name="state")
        if weights is not None:
            # The parent would count the switch among the weights it expects.
            self.build()
            self.embeddings.assign(weights[0] if isinstance(weights, list) else weights)

    # The arguments of the installed Keras, which differ from version to version.
    __init__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        keras.layers.Embedding.__init__
    )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        super().build(input_shape)
        self.state.build()

    def load_own_variables(self, store: Any) -> None:
        require_weights(self, store)
        super().load_own_variables(store)

    def call(self, inputs: Any) -> Any:
        if is_for_litert():
            return ops.cast(gathered_codes(lambda: self.embeddings, inputs), self.compute_dtype)
        rows = super().call(inputs)
        # TensorFlow's ragged tensors, of ids in lists of different lengths, pass no branch.
        values = getattr(rows, "flat_values", rows)
        simulating = says(self.state.switch, SIMULATING)
        values = apply_if(simulating, fake_quantize_rows, values, straight_through=True)
        return rows.with_flat_values(values) if hasattr(rows, "flat_values") else values

    def set_switch(self, value: int) -> None:
        """2: simulating; anything else: float."""
        self.state.switch.assign(value if value == SIMULATING else OFF)

    def unsupported_reasons(self) -> list[str]:
        """Why this layer can't become INT8; empty if it can."""
        if self.quantization_mode is not None:
            return [f"Keras' own {self.quantization_mode} quantization is on"]
        return []
