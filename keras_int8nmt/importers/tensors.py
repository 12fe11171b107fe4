"""`Tensors`: the tensors of a foreign checkpoint, read one at a time, each taken once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# The types of weights, and the bytes of an element.
FLOAT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}

_MOST_POSITIONS = 1 << 20
# Of the table of positions, which is computed: 256 MB.
_MOST_POSITION_ELEMENTS = 1 << 26
# Whatever a format puts together: four products of attention and two more, with their norms.
_LEAST_TENSORS_OF_A_LAYER = 8


class Entry(NamedTuple):
    """A tensor in a file that is open, or can be opened.

    Attributes:
        shape: Its shape; what reads it has checked that the file has so many bytes.
        dtype: What its elements are in the file, by NumPy's names and "bfloat16".
        read: Reads it: an array of this shape, of any type of numbers that float32 holds as well as
            weights need it; a new one, so that whoever gets it may keep it.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


class Tensors:
    """The tensors of a checkpoint; each is taken once, and none may be left.

    Values are read when they are taken, so that no more than one is in memory besides the model.

    Args:
        entries: By their names.
        file: What messages call the file or files.
        error: The class of errors that are raised here.
        described_by: The file that says which shapes there must be.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        file: str,
        error: type[Exception],
        described_by: str = "config.json",
    ) -> None:
        self._left = dict(entries)
        self.file, self.error, self.described_by = file, error, described_by
        self.dtypes = tuple(sorted({entry.dtype for entry in entries.values()}))
        # Of any tensor and any axis: no size of the model is more.
        self.longest = max((max(e.shape, default=0) for e in entries.values()), default=0)
        self.elements = sum(math.prod(entry.shape) for entry in entries.values())

    def __len__(self) -> int:
        return len(self._left)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that is not taken yet."""
        return self._entry(name).shape

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Reads a tensor, float32 of this shape; it counts as taken then.

        Raises:
            The `error` of this object: where there is none of this name (any more), it has another
                shape, or values that are not finite or no float32 is near.
        """
        entry = self._entry(name)
        if entry.shape != shape:
            raise self.error(
                f"Tensor {name!r} of {self.file} has shape {entry.shape}; {self.described_by} "
                f"wants {shape}."
            )
        del self._left[name]
        # What float64 has and float32 has not becomes infinite, and is told below.
        with np.errstate(over="ignore"):
            value = np.asarray(entry.read(), np.float32)
        assert value.shape == shape, "a reader gives what it has announced"
        if not np.all(np.isfinite(value)):
            raise self.error(f"Tensor {name!r} of {self.file} has values that are NaN or infinite.")
        return value

    def drop(self, name: str) -> None:
        """Counts a tensor that the model doesn't need as taken, without reading it."""
        self._entry(name)
        del self._left[name]

    def _entry(self, name: str) -> Entry:
        if name not in self._left:
            raise self.error(f"{self.file} has no tensor {name!r}.")
        return self._left[name]

    def check_all_taken(self) -> None:
        """Raises the `error` of this object where a tensor has not been taken."""
        if self._left:
            names = ", ".join(sorted(self._left)[:5])
            raise self.error(
                f"{self.file} has {len(self._left)} tensors that {self.described_by} does not "
                f"account for: {names}{', ...' if len(self._left) > 5 else ''}."
            )


def check_sizes(settings: Mapping[str, Any], tensors: Tensors) -> None:
    """Raises the error of `tensors` for a model that is larger than they are, before it is made.

    Args:
        settings: Arguments of `build_transformer`, which has checked them: whole numbers.
        tensors: None is taken yet.
    """
    layers = ("num_encoder_layers", "num_decoder_layers")
    tables = ("source_vocabulary_size", "target_vocabulary_size")
    widths = ("model_dim", "ffn_dim", "decoder_ffn_dim")
    dim, table = settings["model_dim"], max(settings[name] for name in tables)
    most = {
        **dict.fromkeys(layers, len(tensors) // _LEAST_TENSORS_OF_A_LAYER),
        **dict.fromkeys((*tables, *widths), tensors.longest),
        "max_length": min(_MOST_POSITIONS, _MOST_POSITION_ELEMENTS // dim),
    }
    for name, limit in most.items():
        if settings[name] > limit:
            raise tensors.error(
                f"{tensors.described_by} describes a model whose {name} is {settings[name]}; with "
                f"the tensors of {tensors.file} it can be {limit} at most."
            )
    weights = table * dim
    for stack, ffn, products in (("encoder", "ffn_dim", 4), ("decoder", "decoder_ffn_dim", 8)):
        block = products * dim * dim + 2 * dim * settings[ffn]
        weights += settings[f"num_{stack}_layers"] * block
    if weights > tensors.elements:
        raise tensors.error(
            f"{tensors.described_by} describes a model of {weights} weights or more; "
            f"{tensors.file} has {tensors.elements}."
        )


def float32_of(content: bytes | bytearray | memoryview, dtype: str) -> np.ndarray:
    """The elements of a tensor of little-endian bytes, float32 `[n]`; of float32 without a copy.

    Args:
        content: The bytes.
        dtype: One of `FLOAT_BYTES`.
    """
    if dtype == "bfloat16":
        # The upper half of a float32.
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).astype(
            np.float32, copy=False
        )
