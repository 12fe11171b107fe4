"""What a search finds, and results that are still to come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

R = TypeVar("R", covariant=True)


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence.

    Attributes:
        text: The translation; None where the caller asked for ids.
        tokens: Generated token ids, the end token included.
        score: Sum of the tokens' log-probabilities / number of tokens ** length penalty; NaN where
            the caller asked for none.
        finished: False: it ran into the length limit, where the search ended it: the end of the
            sentence may be missing, or it repeats itself.
    """

    text: str | None
    tokens: list[int]
    score: float
    finished: bool = True


def found_hypothesis(tokens: list[int], score: float, max_length: int) -> Hypothesis:
    """What a search found that ends every hypothesis at `max_length` tokens."""
    return Hypothesis(None, tokens, score, finished=len(tokens) < max_length)


class AsyncResult(Protocol[R]):
    """What has been handed to the streams; whoever began it must wait for it or cancel it."""

    def results(self, progress: Callable[[int], Any] | None = None) -> R:
        """Waits for all of it.

        Args:
            progress: Called now and then, in this thread, with the number of sentences finished
                since the last call.
        """

    def cancel(self) -> None:
        """Drops what is not finished; the streams let go of it, at the latest after a step."""


class SearchResults(AsyncResult[list[list[Hypothesis]]], Protocol):
    """Of each sentence, the hypotheses that were found, best first."""

    def when_over(self, callback: Callable[[], Any]) -> bool:
        """Asks for a call when `results` would wait for nothing.

        Args:
            callback: Called by the thread that finds it out: of the native engine the one that asks
                `NativeDecoder.call_over`, of the Keras engine one of its own.

        Returns:
            False where that is so already: then nothing is called.
        """


class NoSentences:
    """The `SearchResults` of no sentences."""

    def results(self, progress: Callable[[int], Any] | None = None) -> list[list[Hypothesis]]:
        return []

    def when_over(self, callback: Callable[[], Any]) -> bool:
        return False

    def cancel(self) -> None:
        pass
