"""How `convert` makes INT8 out of float; which MatMul becomes it is `conversion_policy.py`."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT_SCALES = ("per_channel", "per_tensor")


@dataclass(frozen=True)
class ConversionOptions:
    """The keyword arguments of `convert` that every converter may need; see there.

    Raises:
        ValueError: for a value that is not known, with what was expected.
    """

    weights: str = "per_channel"
    bias_correction: bool = False

    def __post_init__(self) -> None:
        if self.weights not in WEIGHT_SCALES:
            raise ValueError(
                f"`weights` must be {' or '.join(map(repr, WEIGHT_SCALES))}; received "
                f"{self.weights!r}."
            )
        if not isinstance(self.bias_correction, bool):
            raise ValueError(
                f"`bias_correction` must be True or False; received {self.bias_correction!r}."
            )

    @property
    def per_channel(self) -> bool:
        """Whether each output channel of a kernel has a scale of its own."""
        return self.weights == "per_channel"
