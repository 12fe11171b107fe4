"""How `convert` makes INT8 out of float; which MatMul becomes it is `conversion_policy.py`."""

from __future__ import annotations

from dataclasses import dataclass

from keras_int8nmt.integer_functions import require_arithmetic


@dataclass(frozen=True)
class ConversionOptions:
    """The keyword arguments of `convert` that every converter may need; see there.

    Raises:
        ValueError: for a value that is not known, with what was expected.
    """

    softmax: str = "float"
    layer_norm: str = "float"

    def __post_init__(self) -> None:
        require_arithmetic("softmax", self.softmax)
        require_arithmetic("layer_norm", self.layer_norm)
