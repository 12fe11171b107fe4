"""`FixedScale`: stands where an observer would, for a tensor whose codes are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_int8nmt.quantization import QuantParams


class FixedScale:
    """One side of a product that needs no calibration, such as probabilities.

    Attributes:
        tap: As of an `Observer`: a function that is shown each tensor, or None.
    """

    def __init__(self, params: QuantParams) -> None:
        self._params = params
        self.tap: Callable[[Any], None] | None = None

    def params(self) -> QuantParams:
        """Scale, zero point and integer type."""
        return self._params

    def show(self, x: Any) -> None:
        """Hands `x` to the tap if there is one."""
        if self.tap is not None:
            self.tap(x)
