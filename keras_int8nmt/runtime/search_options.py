"""What a search is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search; see `Translator`, which checks them."""

    beam_size: int
    num_hypotheses: int
    max_length: int
    min_length: int
    length_penalty: float
    return_scores: bool = True

    def divisors(self) -> np.ndarray:
        """float32 `[max_length + 1]`: what a sum of n log-probabilities is divided by."""
        lengths = np.maximum(np.arange(self.max_length + 1), 1).astype(np.float64)
        return (lengths**self.length_penalty).astype(np.float32)
