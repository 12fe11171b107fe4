"""How `convert` makes INT8 out of float; which MatMul becomes it is `conversion_policy.py`."""

from __future__ import annotations

from dataclasses import dataclass

from keras_int8nmt.quantization import WEIGHT_RANGE


@dataclass(frozen=True)
class ConversionOptions:
    """The keyword arguments of `convert` that every converter may need; see there.

    Attributes:
        weight_bits: 8 or 7.

    Raises:
        ValueError: for a value that is not known, with what was expected.
    """

    weight_bits: int = 8

    def __post_init__(self) -> None:
        # By its type, too: True is no number of bits, and neither is 8.0.
        if type(self.weight_bits) is not int or self.weight_bits not in WEIGHT_RANGE:
            raise ValueError(
                "`weight_bits` must be 7, 8 or None (what this CPU multiplies fastest); received "
                f"{self.weight_bits!r}."
            )
