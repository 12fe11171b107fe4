"""What `autotune` judges models by, and how it counts sentence by sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_int8nmt.evaluation.bootstrap import bleu_of_sums, sentence_statistics, standard_error
from keras_int8nmt.translation.translator import Translator

Metric = Callable[[Any], Any]


class Bleu:
    """Corpus BLEU, 0 to 100, by sacreBLEU of a model's translations against one reference each.

    Called with a model it gives what BLEU counts in each sentence; `of_sums` makes BLEU of it.

    Args:
        tokenizer: As for `Translator`.
        sources: Sentences, at least one.
        references: Their translations.
        options: Keyword arguments of `Translator`.
    """

    name = "BLEU"
    of_sums = staticmethod(bleu_of_sums)

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

    def __call__(self, model: Any) -> np.ndarray:
        with Translator(model, self._tokenizer, **self._options) as translator:
            translations = translator(self._sources)
        return sentence_statistics(translations, self._references)


@dataclass(frozen=True)
class Measured:
    """A score, and the rows of numbers it is made of, one for each sentence; None: not told."""

    score: float
    rows: np.ndarray | None = None


def measure(metric: Metric, model: Any) -> Measured:
    """What a metric says of a model.

    A number is a score. A 1-dimensional array has a number for each sentence (or image, or whatever
    the model is tried with), always the same ones in the same order, and the score is their mean. A
    2-dimensional array has a row for each, and the metric's `of_sums` makes the score of the sum of
    the rows. A list is neither: `evaluate` of a compiled model gives one of several metrics.

    Raises:
        ValueError: for anything else, and for numbers that are not finite.
    """
    found = metric(model)
    values = np.asarray(found) if not isinstance(found, list | tuple | dict | str) else None
    if values is None or values.size == 0 or values.dtype.kind not in "biuf" or values.ndim > 2:
        raise _wrong(metric, found)
    of_sums = getattr(metric, "of_sums", None)
    if values.size == 1 and values.ndim < 2:
        score, rows = float(values.reshape(())), None
    elif of_sums is None:
        if values.ndim != 1:
            raise _wrong(metric, found)
        score, rows = float(np.mean(values, dtype=np.float64)), values[:, np.newaxis]
    else:
        rows = values.reshape(len(values), -1)
        score = float(of_sums(rows.sum(axis=0)))
    if not math.isfinite(score):
        raise ValueError(
            f"The metric {metric_name(metric)!r} must give a finite number; it gave {score}."
        )
    return Measured(score, rows)


def _wrong(metric: Metric, found: Any) -> ValueError:
    return ValueError(
        f"The metric {metric_name(metric)!r} must give a number, or an array of one for each "
        f"sentence; it gave {type(found).__name__} {str(found)[:60]}."
    )


@dataclass(frozen=True)
class Uncertainty:
    """How sure a loss is.

    Attributes:
        error: Standard error of the loss, by paired bootstrap.
        differing: Sentences that score differently.
    """

    error: float
    differing: int


def uncertainty(metric: Metric, baseline: Measured, other: Measured) -> Uncertainty | None:
    """How sure the difference of two scores is; None where a metric tells no more than scores.

    Raises:
        ValueError: when the two are not of as many sentences.
    """
    if baseline.rows is None or other.rows is None:
        return None
    if baseline.rows.shape != other.rows.shape:
        raise ValueError(
            f"The metric {metric_name(metric)!r} must give as many numbers for each model; it gave "
            f"{len(baseline.rows)} for the float one and {len(other.rows)} for another."
        )
    count = len(baseline.rows)

    def mean(sums: np.ndarray) -> float:
        return float(sums[0]) / count

    of_sums = getattr(metric, "of_sums", mean)
    differing = int(np.sum(np.any(baseline.rows != other.rows, axis=1)))
    return Uncertainty(standard_error(other.rows, baseline.rows, of_sums), differing)


def metric_name(metric: Metric) -> str:
    """By which reports and state files know a metric: its `name`, or that of the function."""
    name = getattr(metric, "name", None) or getattr(metric, "__name__", None)
    return name if isinstance(name, str) else type(metric).__name__
