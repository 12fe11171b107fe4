"""How sure a difference in BLEU is: paired bootstrap resampling (Koehn 2004).

The sentences of a test set are drawn with replacement, as many as it has, again and again; both
systems are scored on the same draw. BLEU and its counts are sacreBLEU's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from keras_int8nmt.evaluation.metrics import References, reference_lists

RESAMPLES = 1000
SEED = 12345


class Difference(NamedTuple):
    """A difference in BLEU: as it is, the bounds of its 95 % interval, and its p value."""

    value: float
    low: float
    high: float
    p: float


def sentence_statistics(
    hypotheses: Sequence[str], references: References, language: str = ""
) -> np.ndarray:
    """What BLEU counts in each sentence.

    Args:
        hypotheses: Translations.
        references: One for each sentence, or several lists of them.
        language: Of the translations; some have a tokenizer of their own.

    Returns:
        int64 `[sentences, 10]`: right n-grams and n-grams of 1 to 4 words, words of the
        translation, words of the reference. Their sums over a set make its BLEU.
    """
    from sacrebleu.metrics import BLEU

    # The order changes a sentence's score, which is not used, and none of the counts.
    bleu = BLEU(effective_order=True, trg_lang=language)
    rows = []
    for hypothesis, *own in zip(hypotheses, *reference_lists(references), strict=True):
        score = bleu.sentence_score(hypothesis, own)
        rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, np.int64).reshape(len(rows), 10)


def bleu_of_sums(sums: np.ndarray) -> float:
    """Corpus BLEU, 0 to 100, of summed counts (`[10]`, as in `sentence_statistics`)."""
    from sacrebleu.metrics import BLEU

    counts = [int(x) for x in sums]
    score = BLEU.compute_bleu(
        counts[:4], counts[4:8], counts[8], counts[9], smooth_method="exp", max_ngram_order=4
    )
    return float(score.score)


def compare(
    system: np.ndarray, baseline: np.ndarray, resamples: int = RESAMPLES, seed: int | None = SEED
) -> Difference:
    """The difference `system` - `baseline` and how sure it is.

    Args:
        system, baseline: `sentence_statistics` of both on the same references.
        resamples: Number of draws.
        seed: Of the draws; the same for every pair, so that rows are comparable. None: another
            each time.

    Returns:
        The difference on all sentences; the 2.5 and 97.5 % quantiles of the differences on the
        draws; and p, two-sided, as in sacreBLEU's paired bootstrap: how often the difference on a
        draw, minus the mean of these, exceeds the one seen.
    """
    if system.shape != baseline.shape or not len(system):
        raise ValueError(
            f"There must be as many sentences of both systems, and at least one; received "
            f"{len(system)} and {len(baseline)}."
        )
    value = bleu_of_sums(system.sum(0)) - bleu_of_sums(baseline.sum(0))
    if np.array_equal(system, baseline):
        return Difference(0.0, 0.0, 0.0, 1.0)
    differences = _resampled(system, baseline, bleu_of_sums, resamples, seed)
    low, high = np.quantile(differences, [0.025, 0.975])
    sizes = np.abs(differences)
    beyond = int(np.sum(sizes - sizes.mean() > abs(value)))
    return Difference(value, float(low), float(high), (beyond + 1) / (resamples + 1))


def standard_error(
    system: np.ndarray,
    baseline: np.ndarray,
    of_sums: Callable[[np.ndarray], float] = bleu_of_sums,
    resamples: int = RESAMPLES,
    seed: int | None = SEED,
) -> float:
    """The standard error of a paired difference: its standard deviation over the draws.

    Args:
        system, baseline: A row of numbers for each sentence, of both on the same sentences.
        of_sums: The score of rows that were summed up.
        resamples, seed: As in `compare`.
    """
    if np.array_equal(system, baseline):
        return 0.0
    return float(np.std(_resampled(system, baseline, of_sums, resamples, seed), ddof=1))


def _resampled(
    system: np.ndarray,
    baseline: np.ndarray,
    of_sums: Callable[[np.ndarray], float],
    resamples: int,
    seed: int | None,
) -> np.ndarray:
    """The difference on each draw."""
    n, width = system.shape
    both = np.concatenate([system, baseline], axis=1)
    rng = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for i in range(resamples):
        # How often each sentence was drawn.
        times = np.bincount(rng.integers(n, size=n), minlength=n)
        sums = times @ both
        differences[i] = of_sums(sums[:width]) - of_sums(sums[width:])
    return differences
