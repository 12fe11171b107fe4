"""What a `Translator` gives: translations, and those that are under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.runtime.results import Hypothesis, SearchResults


@dataclass(frozen=True)
class Translation:
    """The hypotheses of a sentence, best first; at least one.

    Attributes:
        hypotheses: See `Hypothesis`.
        source_cut: Whether the sentence was longer than `max_source_length`, so that only its
            beginning was translated.
    """

    hypotheses: list[Hypothesis]
    source_cut: bool = False

    @property
    def text(self) -> str:
        """The best translation; empty where there is no text."""
        return self.hypotheses[0].text or ""

    @property
    def finished(self) -> bool:
        """Of the best translation, see `Hypothesis`."""
        return self.hypotheses[0].finished


NOTHING = Translation([Hypothesis("", [], 0.0)])


class SentenceError(KerasInt8nmtError, ValueError):
    """Some of several sentences can't be translated; the message tells of the first.

    Attributes:
        outcomes: Of each sentence its `Translation`, or what is wrong with it.
    """

    def __init__(self, message: str, outcomes: list[Translation | str]) -> None:
        super().__init__(message)
        self.outcomes = outcomes

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.outcomes)


class AsyncTranslations:
    """The `AsyncResult` of texts; to be waited for or cancelled, one of both.

    Args:
        count: Texts there are.
        present: Indices of those that were handed to the streams; the others have nothing to
            translate, or failed.
        found: What they find of those.
        finish: Makes the translation of what was found for one, by its index.
        failed: What is wrong with those that can't be translated.
        name: What a message calls a text.
    """

    def __init__(
        self,
        count: int,
        present: Sequence[int],
        found: SearchResults,
        finish: Callable[[int, list[Hypothesis]], Translation],
        failed: Mapping[int, str],
        name: Callable[[int], str],
    ) -> None:
        self._count, self._present = count, present
        self._found, self._finish = found, finish
        self._failed, self._name = failed, name

    def results(self, progress: Callable[[int], Any] | None = None) -> list[Translation]:
        """Waits for all of them, in their order; `progress` as in `Translator.translate`.

        Raises:
            SentenceError: when one can't be tokenized, or its translation not be detokenized; it
                has the translations of all others.
        """
        if progress is not None and len(self._present) < self._count:
            progress(self._count - len(self._present))
        results = [NOTHING] * self._count
        failed = dict(self._failed)
        for i, each in zip(self._present, self._found.results(progress), strict=True):
            try:
                results[i] = self._finish(i, each)
            except Exception as error:  # whatever somebody's tokenizer raises: it is of one text
                failed[i] = f"can't be detokenized: {error_text(error)}"
        if failed:
            first = min(failed)
            outcomes: list[Translation | str] = [*results]
            for i, reason in failed.items():
                outcomes[i] = f"it {reason}"
            message = f"{self._name(first)} {failed[first]}".removesuffix(".")
            raise SentenceError(f"{message}.", outcomes)
        return results

    def when_over(self, callback: Callable[[], Any]) -> bool:
        """See `SearchResults`."""
        return self._found.when_over(callback)

    def cancel(self) -> None:
        """Drops them."""
        self._found.cancel()


def error_text(error: Exception) -> str:
    """An error in one line, with its class where that is what says most."""
    text = " ".join(str(error).split())
    plain = isinstance(error, (ValueError, KerasInt8nmtError)) and text
    return text if plain else f"{type(error).__name__}: {text}"
