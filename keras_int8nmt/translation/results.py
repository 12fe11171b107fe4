"""What a `Translator` gives: translations, and those that are under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_int8nmt.runtime.results import Hypothesis, SearchResults


@dataclass(frozen=True)
class Translation:
    """The hypotheses of a sentence, best first; at least one."""

    hypotheses: list[Hypothesis]

    @property
    def text(self) -> str:
        """The best translation; empty where there is no text."""
        return self.hypotheses[0].text or ""


NOTHING = Translation([Hypothesis("", [], 0.0)])


class AsyncTranslations:
    """The `AsyncResult` of texts; to be waited for or cancelled, one of both.

    Args:
        count: Texts there are.
        present: Indices of those that were handed to the streams; the others have nothing to
            translate.
        found: What they find of those.
        finish: Makes the translation of what was found for one.
    """

    def __init__(
        self,
        count: int,
        present: Sequence[int],
        found: SearchResults,
        finish: Callable[[list[Hypothesis]], Translation],
    ) -> None:
        self._count, self._present = count, present
        self._found, self._finish = found, finish

    def results(self, progress: Callable[[int], Any] | None = None) -> list[Translation]:
        """Waits for all of them, in their order; `progress` as in `Translator.translate`."""
        if progress is not None and len(self._present) < self._count:
            progress(self._count - len(self._present))
        results = [NOTHING] * self._count
        for i, each in zip(self._present, self._found.results(progress), strict=True):
            results[i] = self._finish(each)
        return results

    def cancel(self) -> None:
        """Drops them."""
        self._found.cancel()
