"""Translations of which one that fails takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras_int8nmt.runtime.errors import EngineGoneError
from keras_int8nmt.translation.results import AsyncTranslations, SentenceError, Translation
from keras_int8nmt.translation.translator import Translator


class CarefulTranslations:
    """Texts under way, with what is wrong with those that can't be translated; an `AsyncResult`.

    Args:
        translator: With its tokenizer.
        texts: Sentences.
        name: Says by an index what a warning calls a text, as in `Translator.begin`.
    """

    def __init__(
        self,
        translator: Translator,
        texts: Sequence[str],
        name: Callable[[int], str] | None = None,
    ) -> None:
        self._translator, self._texts = translator, list(texts)
        self._pending: AsyncTranslations = translator.begin(self._texts, name)

    def results(self, progress: Callable[[int], Any] | None = None) -> list[Translation | str]:
        """The translation of each text, or why there is none."""
        try:
            return [*self._pending.results(progress)]
        except EngineGoneError:
            raise
        except SentenceError as error:
            return error.outcomes
        except self._translator.errors:
            return _in_halves(self._translator, self._texts)

    def cancel(self) -> None:
        """Drops them."""
        self._pending.cancel()


def begin_lines(
    translator: Translator, name: str, first: int, lines: Sequence[str | None]
) -> CarefulTranslations:
    """Lines of a file under way, those that have a text; warnings call them by their numbers.

    Args:
        translator: With its tokenizer.
        name: Of the file.
        first: Number of the first line.
        lines: Texts; None where there is nothing to translate.
    """
    present = [(number, line) for number, line in enumerate(lines, first) if line is not None]
    texts = [line for _, line in present]
    return CarefulTranslations(translator, texts, lambda i: f"{name}, line {present[i][0]},")


def _in_halves(translator: Translator, texts: list[str]) -> list[Translation | str]:
    """Translates what can be translated, in ever smaller parts."""
    try:
        return [*translator.translate(texts)]
    except EngineGoneError:
        # No sentence's fault.
        raise
    except SentenceError as error:
        return error.outcomes
    except translator.errors as error:
        if len(texts) == 1:
            return [" ".join(str(error).split())]
    half = len(texts) // 2
    return [*_in_halves(translator, texts[:half]), *_in_halves(translator, texts[half:])]
