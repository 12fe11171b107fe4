"""Why a MatMul is INT8 or float, in words for people who did not convert the model."""

from __future__ import annotations

import re
from typing import NamedTuple

from keras_int8nmt.conversion.report import MatMulRow


class Reason(NamedTuple):
    """Why a MatMul has its precision.

    Attributes:
        source: What decided: "default", "policy", "option", "filter" or "layer".
        text: How.
    """

    source: str
    text: str


# What conversion writes into a row, and what that means. The first that fits a part of a reason is
# taken; parts are parted by semicolons.
_MEANINGS = (
    (r"policy: paper, product of two tensors",
     "policy", 'policy="paper": products of two tensors (QK, AV) stay float'),
    (r"policy: paper, sparse input",
     "policy", 'policy="paper": stays float, since its input comes out of a ReLU and is sparse'),
    (r"policy: paper",
     "policy", 'policy="paper": weights, and an input that is not sparse, so INT8'),
    (r"policy: float32", "policy", 'policy="float32": everything stays float'),
    (r"policy: by name",
     "policy", "named in the policy that was given, a mapping or the file of autotune"),
    (r"policy: by function", "policy", "chosen by the function that was given as policy"),
    (r"dynamic scales, product of two tensors",
     "option", 'activations="dynamic": products of two tensors stay float'),
    (r"dynamic scales",
     "option", 'activations="dynamic": each row of the input has a scale computed as it runs'),
    (r"filtered out", "filter", "left as it was by `filters` of quantize_model"),
    (r"\w+ is plain: ", "layer",
     "a plain layer: quantize_model did not replace it, by its filters or for a reason it told"),
)  # fmt: skip
_DEFAULT = Reason("default", "INT8, as every MatMul that can be and that nothing names otherwise")


def reasons_of(row: MatMulRow) -> list[Reason]:
    """Why a MatMul is INT8 or float; the rest of what a layer says of itself is given as it is.

    Example:

        >>> reasons_of(MatMulRow("ffn_out", "weights", "float32", "policy: float32"))
        [Reason(source='policy', text='policy="float32": everything stays float')]
    """
    if not row.reason:
        return [_DEFAULT if row.precision == "int8" else Reason("layer", "no reason was kept")]
    return [_reason(part) for part in row.reason.split("; ")]


def _reason(part: str) -> Reason:
    for pattern, source, text in _MEANINGS:
        if re.match(pattern, part):
            return Reason(source, text)
    return Reason("layer", part)
