"""What a search is asked for, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

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
    return_scores: bool = True

    def divisors(self) -> np.ndarray:
        """float32 `[max_length + 1]`: what a sum of n log-probabilities is divided by."""
        lengths = np.maximum(np.arange(self.max_length + 1), 1).astype(np.float64)
        return (lengths**self.length_penalty).astype(np.float32)


class Work(Protocol):
    """Sentences that have been handed to the streams.

    Whoever began it must ask for its results or cancel it.
    """

    def results(self, progress: Callable[[int], Any] | None = None) -> list[list[Found]]:
        """Waits; the hypotheses of each sentence, best first.

        Args:
            progress: Called now and then, in this thread, with the number of sentences finished
                since the last call.
        """

    def cancel(self) -> None:
        """Drops what is not finished; the streams have let go of it when this returns."""


class NoWork:
    """The `Work` of no sentences."""

    def results(self, progress: Callable[[int], Any] | None = None) -> list[list[Found]]:
        return []

    def cancel(self) -> None:
        pass
