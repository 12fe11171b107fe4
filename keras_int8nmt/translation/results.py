"""What a `Translator` gives: translations, and those that are under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_int8nmt.runtime.search_options import Found, Work


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence.

    Attributes:
        text: The translation; None where the caller asked for ids.
        tokens: Generated token ids, the end token included.
        score: Sum of the tokens' log-probabilities / number of tokens ** length penalty; NaN where
            the caller asked for none.
    """

    text: str | None
    tokens: list[int]
    score: float


@dataclass(frozen=True)
class Translation:
    """The hypotheses of a sentence, best first; at least one."""

    hypotheses: list[Hypothesis]

    @property
    def text(self) -> str:
        """The best translation; empty where there is no text."""
        return self.hypotheses[0].text or ""


NOTHING = Translation([Hypothesis("", [], 0.0)])


class Pending:
    """Translations that the streams are at; to be waited for or cancelled, one of both.

    Args:
        count: Texts there are.
        present: Indices of those that were handed to the streams; the others have nothing to
            translate.
        work: What was handed to them.
        finish: Makes the translation of what was found for one.
    """

    def __init__(
        self,
        count: int,
        present: Sequence[int],
        work: Work,
        finish: Callable[[list[Found]], Translation],
    ) -> None:
        self._count, self._present = count, present
        self._work, self._finish = work, finish

    def results(self, progress: Callable[[int], Any] | None = None) -> list[Translation]:
        """Waits for all of them, in their order; `progress` as in `Translator.translate`."""
        if progress is not None and len(self._present) < self._count:
            progress(self._count - len(self._present))
        results = [NOTHING] * self._count
        for i, found in zip(self._present, self._work.results(progress), strict=True):
            results[i] = self._finish(found)
        return results

    def cancel(self) -> None:
        """Drops them; the streams have let go of them when this returns."""
        self._work.cancel()
