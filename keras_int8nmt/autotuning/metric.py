"""What `autotune` judges models by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_int8nmt.translation.translator import Translator

Metric = Callable[[Any], float]


class Bleu:
    """Corpus BLEU, 0 to 100, by sacreBLEU of a model's translations against one reference each.

    Args:
        tokenizer: As for `Translator`.
        sources: Sentences, at least one.
        references: Their translations.
        options: Keyword arguments of `Translator`.
    """

    name = "BLEU"

    def __init__(
        self,
        tokenizer: Any,
        sources: Sequence[str],
        references: Sequence[str],
        options: Mapping[str, Any],
    ) -> None:
        self._tokenizer = tokenizer
        self._sources, self._references = list(sources), list(references)
        self._options = dict(options)

    def __call__(self, model: Any) -> float:
        from sacrebleu.metrics import BLEU

        with Translator(model, self._tokenizer, **self._options) as translator:
            translations = translator(self._sources)
        return float(BLEU().corpus_score(translations, [self._references]).score)


def metric_name(metric: Metric) -> str:
    """By which reports and state files know a metric: its `name`, or that of the function."""
    name = getattr(metric, "name", None) or getattr(metric, "__name__", None)
    return name if isinstance(name, str) else type(metric).__name__
