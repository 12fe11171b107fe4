"""A model that is measured, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Subject(NamedTuple):
    """What the factory of a case gives.

    Attributes:
        model: A built float model with random weights.
        inputs: Given a batch size and a generator, arrays in the structure that the model takes.
        generate: Given a model of this kind, a function of such inputs that generates tokens; None
            where the model is just called.
    """

    model: Any
    inputs: Callable[[int, np.random.Generator], Any]
    generate: Callable[[Any], Callable[[Any], Any]] | None = None


def tokens(
    rng: np.random.Generator, batch: int, length: int, vocabulary: int
) -> np.ndarray[Any, Any]:
    """Random token ids without padding, which is 0."""
    return rng.integers(1, vocabulary, (batch, length), dtype=np.int32)
