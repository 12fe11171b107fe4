"""`ModelSpec`: all that the native decoder needs of a model, as named settings and named tensors.

What a model is made of tells its own part: a dict of settings, NumPy arrays and further parts.
Their names are joined by dots ("decoder.0.cross.key_value.weights"). `cc/decoder/model.cc` reads
them by name and refuses what is missing, wrong or unknown. docs/model_spec.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_int8nmt import native
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.quantization import QuantParams

FORMAT_VERSION = 2
DTYPES = ("float32", "int8", "uint8")

Setting = int | float | str
# A setting, an array or a further part by its name; a nested Mapping is not said in types.
Part = dict[str, Any]


class NotDescribableError(KerasInt8nmtError, ValueError):
    """The native decoder can't run this model; the message says why."""


@dataclass(frozen=True)
class ModelSpec:
    """A model for the native decoder.

    Attributes:
        settings: Whole numbers, floats and words by their names.
        tensors: float32, int8 and uint8 arrays, C-contiguous, by their names.
        packed: Whether weights of products are packed for this CPU, as the decoder reads them; if
            not they are int8 or float32 `[rows, columns]`, as they are stored.

    Raises:
        TypeError: for a setting or tensor of another type.
    """

    settings: Mapping[str, Setting]
    tensors: Mapping[str, np.ndarray]
    packed: bool = True

    def __post_init__(self) -> None:
        for name, value in self.settings.items():
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise TypeError(f"The setting {name} is {value!r}; expected int, float or str.")
        for name, tensor in self.tensors.items():
            if not isinstance(tensor, np.ndarray) or tensor.dtype.name not in DTYPES:
                raise TypeError(f"The tensor {name} is no array of {', '.join(DTYPES)}.")
            if not tensor.flags.c_contiguous:
                raise TypeError(f"The tensor {name} is not C-contiguous.")

    @classmethod
    def of(cls, parts: Part, packed: bool = True) -> ModelSpec:
        """The spec of a whole model's part."""
        settings: dict[str, Setting] = {"format_version": FORMAT_VERSION}
        tensors: dict[str, np.ndarray] = {}
        for name, value in _flat(parts):
            if isinstance(value, np.ndarray):
                tensors[name] = value
            else:
                settings[name] = value
        return cls(settings, tensors, packed)

    @property
    def weights(self) -> list[str]:
        """Names of the tensors that are weights of products."""
        return [name for name in self.tensors if name.endswith(".weights")]


def _flat(part: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


# ---- parts that many have


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
