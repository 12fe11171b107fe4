"""`QuantLayer`: what a Keras layer that can become INT8 answers about itself."""

from __future__ import annotations

from typing import ClassVar

from keras_int8nmt.layers.matmuls import MatMul


class QuantLayer:
    """Beside its Keras parent, the base of every layer that can be calibrated and converted.

    A layer type is a class of this base, its frozen form, and a row in the table of converters
    (`conversion.register_converter`). Calibration, simulation, policies, the report, output SQNR
    and autotuning ask the layer and know no type. The observers that it holds in attributes are
    found by themselves.

    Attributes:
        depends_on_calls: Whether its MatMuls, or why it can't become INT8, show only in a call.
        was_called: Whether some call has reached a layer of which that holds.
    """

    depends_on_calls: ClassVar[bool] = False

    built: bool
    was_called: bool = False

    def assume_calls(self) -> None:
        """Told where no call can be seen: the layer counts as asked for all that it can do."""

    def matmuls(self) -> list[MatMul]:
        """Its MatMuls, in the order of the conversion report; none unless it says so."""
        return []

    def unsupported_reasons(self) -> list[str]:
        """Why this layer can't become INT8; empty if it can."""
        return []

    def set_switch(self, value: int) -> None:
        """Told when the model's state changes (`OFF`, `OBSERVING` or `SIMULATING`).

        Observers are told by themselves: this is for a layer that simulates something besides.
        """
