"""What every static quantizer is calibrated on: the same training pairs, to each in its way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.bench.accuracy.corpora import evenly
from keras_int8nmt.bench.peers.decoding import PAD

Ids = list[list[int]]
FILE = "calibration.npz"
_SIDES = ("source", "target")


def write_calibration(folder: Path, sources: Ids, targets: Ids, most: int, longest: int) -> None:
    """Keeps at most `most` pairs of ids of which no side is longer than `longest`."""
    pairs = [p for p in zip(sources, targets, strict=True) if max(map(len, p)) <= longest]
    chosen = evenly(pairs, most)
    arrays: dict[str, Any] = {
        f"{side}{i}": np.array(ids, np.int32)
        for i, pair in enumerate(chosen)
        for side, ids in zip(_SIDES, pair, strict=True)
    }
    np.savez(folder / FILE, **arrays)


def read_calibration(folder: Path) -> tuple[Ids, Ids]:
    """The pairs that `write_calibration` kept."""
    with np.load(folder / FILE) as arrays:
        count = len(arrays.files) // 2
        source, target = ([arrays[f"{s}{i}"].tolist() for i in range(count)] for s in _SIDES)
    return source, target


def prefixes(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One sentence at a time: source ids `[1, source]`, and a prefix `[1, length]` of any length.

    The search asks for the token after each prefix, so lengths are drawn evenly.
    """
    rng = np.random.default_rng(0)
    for source, target in zip(*read_calibration(folder), strict=True):
        prefix = [PAD, *target[: rng.integers(0, len(target))]]
        yield np.array([source], np.int32), np.array([prefix], np.int32)
