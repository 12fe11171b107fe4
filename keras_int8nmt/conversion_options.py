"""How `convert` makes INT8 out of float; which MatMul becomes it is `conversion_policy.py`."""

from __future__ import annotations

from dataclasses import dataclass

from keras_int8nmt.quantization import ACTIVATION_SCALES


@dataclass(frozen=True)
class ConversionOptions:
    """The keyword arguments of `convert` that every converter may need; see there.

    Raises:
        ValueError: for a value that is not known, with what was expected.
    """

    activations: str = "static"

    def __post_init__(self) -> None:
        if self.activations not in ACTIVATION_SCALES:
            raise ValueError(
                f"`activations` must be one of {', '.join(map(repr, ACTIVATION_SCALES))}; received "
                f"{self.activations!r}."
            )

    @property
    def dynamic(self) -> bool:
        """Whether inputs of MatMuls get a scale a row when they are multiplied."""
        return self.activations == "dynamic"
