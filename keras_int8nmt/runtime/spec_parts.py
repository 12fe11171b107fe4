"""Parts of a model spec that many layers have: products, norms, how codes are read and written.

Their settings and arrays are listed in docs/model_spec.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_int8nmt import native
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import Part


def codes(params: QuantParams, scale: float | None = None) -> Part:
    """How integers stand for numbers; `scale` where it is not that of `params`."""
    step = float(params.scale) if scale is None else float(scale)
    return {"type": params.dtype, "zero_point": int(params.zero_point), "scale": step}


def written(params: QuantParams | None, scale: float | None = None) -> Part:
    """How a result is written: as codes, or in float32 for None.

    `scale`: what it is multiplied by before it is rounded, where that is not the scale of `params`:
    1 where it is folded into the product.
    """
    return {"type": "float32"} if params is None else codes(params, scale)


def int8_product(
    weights: Callable[[bool], np.ndarray],
    shape: tuple[int, int],
    scales: np.ndarray,
    bias: np.ndarray,
    packed: bool,
    *,
    reads: QuantParams | None,
    writes: Part | None = None,
    activation: str = "none",
) -> Part:
    """The part of an INT8 product `act(x @ w + bias)`.

    Args:
        weights: Gives the weights, packed or as int8 `[rows, columns]`.
        shape: `(rows, columns)` of the weights.
        scales, bias: float32 `[columns]`.
        packed: Which of the weights is wanted.
        reads: The codes that it reads; None where it reads float32 and gives each row a scale of
            its own.
        writes: See `written`; None is float32.
        activation: One of the epilogue's.
    """
    part = {
        "precision": "int8_dynamic" if reads is None else "int8",
        "rows": shape[0],
        "columns": shape[1],
        "activation": activation,
        "writes": written(None) if writes is None else writes,
        "weights": weights(packed),
        "scales": scales,
        "bias": bias,
    }
    return part if reads is None else {**part, "reads": codes(reads)}


def float_product(
    kernel: np.ndarray,
    bias: np.ndarray | None,
    packed: bool,
    *,
    writes: QuantParams | None = None,
    activation: str = "none",
) -> Part:
    """The part of a float32 product; as in `int8_product`, with its kernel `[rows, columns]`."""
    rows, columns = kernel.shape
    kernel = np.ascontiguousarray(kernel, np.float32)
    bias = np.zeros(columns, np.float32) if bias is None else bias
    return {
        "precision": "float32",
        "rows": rows,
        "columns": columns,
        "activation": activation,
        "writes": written(writes),
        "weights": native.pack_float(kernel) if packed else kernel,
        "bias": np.ascontiguousarray(bias, np.float32).reshape(columns),
    }


def norm(
    gamma: np.ndarray,
    beta: np.ndarray,
    epsilon: float,
    carry: str,
    writes: QuantParams | None = None,
    arithmetic: str = "float",
) -> Part:
    """The part of a LayerNorm and the residual sum before it; words as in `ResidualNorm`."""
    return {
        "gamma": gamma,
        "beta": beta,
        "epsilon": float(epsilon),
        "carry": carry,
        "arithmetic": arithmetic,
        "writes": written(writes),
    }
