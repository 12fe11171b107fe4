"""Checks of op arguments that need no data; each error names the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.quantization import CODE_RANGE

OUTPUTS = ("float32", "int8", "uint8")
ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "swish")


def as_tensor(
    name: str,
    value: Any,
    dtypes: tuple[str, ...],
    rank: int | None = None,
    min_rank: int | None = None,
) -> tf.Tensor:
    """`value` as a tensor of one of `dtypes` and of the rank asked for."""
    if not tf.is_tensor(value):
        # Python numbers take the dtype asked for; an array must have it.
        takes = not isinstance(value, np.ndarray) and dtypes[0] in ("float32", "int32")
        value = tf.convert_to_tensor(value, dtypes[0] if takes else None)
    if value.dtype.name not in dtypes:
        raise TypeError(
            f"`{name}` must be of dtype {' or '.join(dtypes)}; received {value.dtype.name}."
        )
    found = value.shape.rank
    if found is None:
        raise ValueError(f"`{name}` must have a known rank.")
    if rank is not None and found != rank:
        raise ValueError(f"`{name}` must have rank {rank}; received shape {value.shape}.")
    if min_rank is not None and found < min_rank:
        raise ValueError(f"`{name}` must have rank {min_rank} or more; received {value.shape}.")
    return value


def check_output(dtype: str, scale: float, zero_point: int) -> None:
    """Whether values can be written as `dtype` with this scale and zero point."""
    if dtype not in OUTPUTS:
        raise ValueError(f"`out_dtype` must be one of {', '.join(OUTPUTS)}; received {dtype!r}.")
    if isinstance(scale, bool) or not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"A scale must be finite and positive; received {scale!r}.")
    zero_point = whole("zero_point", zero_point, -MOST_INT32, MOST_INT32)
    if dtype != "float32":
        low, high = CODE_RANGE[dtype]
        if not low <= zero_point <= high:
            raise ValueError(
                f"A zero point of {dtype} must be in [{low}, {high}]; received {zero_point}."
            )


def as_matmul(
    x: Any, dtypes: tuple[str, ...], packed: Any, scales: Any, bias: Any, activation: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The operands of a product as tensors; `x` has one of `dtypes`."""
    operands = (
        as_tensor("x", x, dtypes, min_rank=1),
        as_tensor("packed", packed, ("uint8",), rank=1),
        as_tensor("scales", scales, ("float32",), rank=1),
        as_tensor("bias", bias, ("float32",), rank=1),
    )
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}; received {activation!r}."
        )
    return operands
