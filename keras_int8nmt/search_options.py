"""What a search is asked for, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Found(NamedTuple):
    """One hypothesis: its tokens, the end token included, and its score."""

    tokens: list[int]
    score: float


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search; see `Translator`, which checks them."""

    beam_size: int
    num_hypotheses: int
    max_length: int
    min_length: int
    length_penalty: float

    def divisors(self) -> np.ndarray:
        """float32 `[max_length + 1]`: what a sum of n log-probabilities is divided by."""
        lengths = np.maximum(np.arange(self.max_length + 1), 1).astype(np.float64)
        return (lengths**self.length_penalty).astype(np.float32)
