"""How `convert` makes INT8 out of float; which MatMul becomes it is `policy.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras_int8nmt.ops.integer_rules import require_arithmetic
from keras_int8nmt.quantization import ACTIVATION_SCALES, WEIGHT_RANGE

WEIGHT_SCALES = ("per_channel", "per_tensor")


@dataclass(frozen=True)
class ConversionOptions:
    """The keyword arguments of `convert` that every converter may need; see there.

    Attributes:
        weight_bits: 8 or 7.
        weights: One of WEIGHT_SCALES.
        bias_correction: Whether biases make up for the mean error of the weights.
        activations: One of ACTIVATION_SCALES.
        softmax, layer_norm: "float" or "integer".

    Raises:
        ValueError: for a value that is not known, with what was expected.
    """

    weight_bits: int = 8
    weights: str = "per_channel"
    bias_correction: bool = False
    activations: str = "static"
    softmax: str = "float"
    layer_norm: str = "float"

    def __post_init__(self) -> None:
        # By its type, too: True is no number of bits, and neither is 8.0.
        if type(self.weight_bits) is not int or self.weight_bits not in WEIGHT_RANGE:
            raise ValueError(
                "`weight_bits` must be 7, 8 or None (what this CPU multiplies fastest); received "
                f"{self.weight_bits!r}."
            )
        if self.activations not in ACTIVATION_SCALES:
            raise ValueError(
                f"`activations` must be one of {', '.join(map(repr, ACTIVATION_SCALES))}; received "
                f"{self.activations!r}."
            )
        require_arithmetic("softmax", self.softmax)
        require_arithmetic("layer_norm", self.layer_norm)
        if self.softmax != "float" and self.dynamic:
            raise ValueError(
                f'`softmax` can\'t be {self.softmax!r} with `activations="dynamic"`: attention is '
                "float32 there."
            )
        if self.weights not in WEIGHT_SCALES:
            raise ValueError(
                f"`weights` must be {' or '.join(map(repr, WEIGHT_SCALES))}; received "
                f"{self.weights!r}."
            )
        if not isinstance(self.bias_correction, bool):
            raise ValueError(
                f"`bias_correction` must be True or False; received {self.bias_correction!r}."
            )
        if self.bias_correction and self.dynamic:
            raise ValueError(
                "`bias_correction` takes the means of inputs from calibration, which a model with "
                '`activations="dynamic"` does without: choose one of them.'
            )

    @property
    def per_channel(self) -> bool:
        """Whether each output channel of a kernel has a scale of its own."""
        return self.weights == "per_channel"

    @property
    def weight_rule(self) -> dict[str, Any]:
        """How weights are quantized, as keyword arguments of what makes a product."""
        return {"per_channel": self.per_channel, "weight_bits": self.weight_bits}

    @property
    def dynamic(self) -> bool:
        """Whether inputs of MatMuls get a scale a row when they are multiplied."""
        return self.activations == "dynamic"
