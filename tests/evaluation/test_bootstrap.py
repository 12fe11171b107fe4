"""The paired bootstrap against plain loops and against sacreBLEU."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from keras_int8nmt.evaluation.bootstrap import (
    SEED,
    Difference,
    bleu_of_sums,
    compare,
    sentence_statistics,
    standard_error,
)

WORDS = ["the", "a", "dog", "cat", "man", "woman", "sees", "likes", "takes", "big", "small", "."]
RNG = np.random.default_rng(7)
REFERENCES = [" ".join(RNG.choice(WORDS, RNG.integers(4, 12))) for _ in range(60)]


def worse(references, share, seed):
    """Translations of which a share of the words is wrong."""
    rng = np.random.default_rng(seed)
    return [
        " ".join(rng.choice(WORDS) if rng.random() < share else word for word in line.split())
        for line in references
    ]


SYSTEM, BASELINE = worse(REFERENCES, 0.3, 1), worse(REFERENCES, 0.35, 2)


def test_summed_counts_give_the_bleu_of_the_corpus():
    for lines in (SYSTEM, BASELINE, REFERENCES):
        expected = BLEU().corpus_score(lines, [REFERENCES]).score
        assert bleu_of_sums(sentence_statistics(lines, REFERENCES).sum(0)) == pytest.approx(
            expected
        )


def test_interval_equals_plain_loops_over_drawn_sentences():
    resamples = 40
    found = compare(
        sentence_statistics(SYSTEM, REFERENCES),
        sentence_statistics(BASELINE, REFERENCES),
        resamples,
    )
    rng = np.random.default_rng(SEED)
    differences = []
    for _ in range(resamples):
        drawn = [int(rng.integers(len(REFERENCES))) for _ in REFERENCES]
        scores = [
            BLEU().corpus_score([s[i] for i in drawn], [[REFERENCES[i] for i in drawn]]).score
            for s in (SYSTEM, BASELINE)
        ]
        differences.append(scores[0] - scores[1])
    ordered = sorted(differences)

    def quantile(q):
        place = q * (resamples - 1)
        below = int(place)
        return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])

    assert found.low == pytest.approx(quantile(0.025))
    assert found.high == pytest.approx(quantile(0.975))
    assert found.low < found.value < found.high


def test_p_is_that_of_sacrebleu(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", str(SEED))
    for system in (SYSTEM, worse(REFERENCES, 0.1, 3)):
        found = compare(
            sentence_statistics(system, REFERENCES), sentence_statistics(BASELINE, REFERENCES), 200
        )
        test = PairedTest(
            [("baseline", BASELINE), ("system", system)],
            {"BLEU": BLEU(references=[REFERENCES])},
            references=None,
            test_type="bs",
            n_samples=200,
        )
        assert found.p == pytest.approx(test()[1]["BLEU"][1].p_value)


def test_equal_systems_do_not_differ():
    same = sentence_statistics(SYSTEM, REFERENCES)
    assert compare(same, same) == Difference(0.0, 0.0, 0.0, 1.0)


def test_sets_of_other_sizes_are_refused():
    some = sentence_statistics(SYSTEM, REFERENCES)
    with pytest.raises(ValueError, match="received 59 and 60"):
        compare(some[1:], some)
    with pytest.raises(ValueError, match="at least one"):
        compare(some[:0], some[:0])


def test_the_standard_error_is_that_of_the_draws():
    system, baseline = (sentence_statistics(lines, REFERENCES) for lines in (SYSTEM, BASELINE))
    found = compare(system, baseline)
    # Of a normal distribution 95 % lie within 1.96 of them.
    error = standard_error(system, baseline)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.1)
    assert standard_error(system, system) == 0.0
