"""How much of a loss may be chance: the paired test by which `autotune` judges a trial.

Two models are scored on the same sentences. The standard error of the difference is that of the
paired bootstrap (evaluation/bootstrap.py). Sentences that score the same in both say nothing about
how much chance does, so Student's distribution is taken with as many degrees of freedom as other
sentences differ, less one: where three sentences differ and all of them for the worse, that is no
evidence yet, and where five do it is, as in a sign test.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# How sure it must be that a loss is one, unless it is said.
CONFIDENCE = 0.95
# How often a loss of the size of the tolerance would be seen on the sentences that are asked for.
POWER = 0.8


def margin(loss: float, error: float, differing: int, confidence: float) -> float:
    """How much of a loss may be chance, at this one-sided confidence.

    Args:
        loss: The loss.
        error: Its standard error.
        differing: How many sentences score differently.
        confidence: At least 0.5, below 1; at 0.5 nothing is chance.

    Returns:
        A loss is told from none where it is greater. Of one sentence that differs it is the whole
        loss.
    """
    if differing <= 1 and confidence > 0.5:
        return abs(loss)
    return error * student(confidence, differing - 1) if error > 0.0 else 0.0


def student(confidence: float, freedom: int) -> float:
    """The quantile of Student's distribution, for a confidence of at least 0.5 and below 1."""
    z = NormalDist().inv_cdf(confidence)
    if freedom == 1:
        return math.tan(math.pi * (confidence - 0.5))
    if freedom == 2:
        return (2 * confidence - 1) / math.sqrt(2 * confidence * (1 - confidence))
    if freedom < 1:
        return 0.0 if confidence == 0.5 else math.inf
    # Abramowitz and Stegun, 26.7.5.
    return z + sum(
        term / freedom**power
        for power, term in enumerate(
            (
                (z**3 + z) / 4,
                (5 * z**5 + 16 * z**3 + 3 * z) / 96,
                (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
                (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
            ),
            start=1,
        )
    )


def sentences_needed(
    sentences: int, error: float, tolerance: float, confidence: float
) -> int | None:
    """How many sentences would show a loss of the size of the tolerance, four times of five.

    Args:
        sentences: How many there are.
        error: The standard error of a loss on them; it falls with the root of their number.
        tolerance: The loss to see. None is seen of 0: the answer is None then.
        confidence: As in `margin`.
    """
    if tolerance <= 0.0:
        return None
    quantiles = NormalDist().inv_cdf(confidence) + NormalDist().inv_cdf(POWER)
    return max(2, math.ceil(sentences * (quantiles * error / tolerance) ** 2))
