"""Paired tests are sacreBLEU's own; the interval of a difference is that of plain resampling."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from keras_int8nmt.evaluation import significance
from keras_int8nmt.evaluation.significance import bleu_difference_interval, compare_systems

WORDS = (
    "der",
    "die",
    "ein",
    "Hund",
    "Haus",
    "läuft",
    "sieht",
    "heute",
    "nicht",
    "mit",
    "sehr",
    ".",
)


def corpus(sentences=60, seed=0):
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(5, 14))) for _ in range(sentences)]


def spoiled(lines, share, seed=1):
    """`lines` with a share of their words replaced."""
    choose = random.Random(seed)
    return [
        " ".join("falsch" if choose.random() < share else word for word in line.split())
        for line in lines
    ]


REFERENCES = corpus()
GOOD, CLOSE, BAD = (
    spoiled(REFERENCES, share, seed) for share, seed in ((0.2, 1), (0.2, 2), (0.5, 3))
)


@pytest.fixture(autouse=True)
def default_seed(monkeypatch):
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)


@pytest.mark.parametrize(("test", "samples"), [("bs", 300), ("ar", 500)])
def test_scores_p_values_and_intervals_are_those_of_sacrebleu(test, samples):
    systems = {"good": GOOD, "bad": BAD}
    found = compare_systems(systems, REFERENCES, test=test, samples=samples)
    own = PairedTest(
        list(systems.items()),
        {"BLEU": BLEU(), "chrF2": CHRF(), "TER": TER()},
        [REFERENCES],
        test_type=test,
        n_samples=samples,
        n_ar_confidence=significance.RESAMPLES if test == "ar" else -1,
    )
    signatures, expected = own()
    for metric in ("BLEU", "chrF2", "TER"):
        for system, result in zip(found.systems, expected[metric], strict=True):
            mine = system.metrics[metric]
            assert (mine.score, mine.mean, mine.ci) == (result.score, result.mean, result.ci)
            assert mine.p_value == result.p_value
        assert found.signatures[metric] == str(signatures[metric])
    assert found.baseline.metrics["BLEU"].p_value is None
    assert found.systems[1].metrics["BLEU"].p_value < 0.01


def test_the_interval_of_the_difference_is_that_of_scoring_whole_resampled_corpora(monkeypatch):
    monkeypatch.setattr(significance, "RESAMPLES", 40)
    drawn = np.random.default_rng(12345).choice(len(GOOD), size=(40, len(GOOD)))
    differences = []
    for rows in drawn:
        lines = [[texts[i] for i in rows] for texts in (GOOD, CLOSE, REFERENCES)]
        first, second = (sacrebleu.corpus_bleu(x, [lines[2]]).score for x in lines[:2])
        differences.append(second - first)
    low, high = bleu_difference_interval(GOOD, CLOSE, REFERENCES)
    np.testing.assert_allclose((low, high), np.percentile(differences, [2.5, 97.5]), atol=1e-9)


def test_the_interval_tells_a_difference_from_none():
    found = compare_systems({"a": GOOD, "b": CLOSE, "c": BAD}, REFERENCES)
    _, close, bad = found.systems
    low, high = close.bleu_difference_interval
    assert low < 0 < high
    assert low < close.bleu_difference < high
    assert close.metrics["BLEU"].p_value > 0.05
    low, high = bad.bleu_difference_interval
    assert low < bad.bleu_difference < high < -10
    difference = sacrebleu.corpus_bleu(BAD, [REFERENCES]).score
    difference -= sacrebleu.corpus_bleu(GOOD, [REFERENCES]).score
    assert bad.bleu_difference == difference


def test_outputs_that_differ_are_counted_and_equal_ones_are_no_difference():
    changed = [*GOOD[:-2], "etwas anderes", GOOD[-1]]
    found = compare_systems({"a": GOOD, "b": list(GOOD), "c": changed}, REFERENCES)
    same, other = found.systems[1:]
    assert (same.different_outputs, other.different_outputs) == (0, 1)
    assert same.bleu_difference == 0
    assert same.bleu_difference_interval == (0, 0)
    assert {r.p_value for r in same.metrics.values()} == {1.0}


def test_the_seed_is_that_of_sacrebleu(monkeypatch):
    first = bleu_difference_interval(GOOD, CLOSE, REFERENCES)
    assert bleu_difference_interval(GOOD, CLOSE, REFERENCES) == first
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    assert bleu_difference_interval(GOOD, CLOSE, REFERENCES) != first
    found = compare_systems({"a": GOOD, "b": CLOSE}, REFERENCES, samples=50)
    assert found.seed == 7
    assert "seed:7" in found.signatures["BLEU"]
    monkeypatch.setenv("SACREBLEU_SEED", "seven")
    with pytest.raises(ValueError, match='SACREBLEU_SEED must be a whole number or "none"'):
        compare_systems({"a": GOOD, "b": CLOSE}, REFERENCES)


def test_a_comparison_is_json_and_text():
    found = compare_systems(
        {"float": GOOD, "int8": CLOSE},
        [REFERENCES, BAD],
        samples=60,
        label={"test": "wmt14", "lang": "en-de"},
    )
    content = json.loads(json.dumps(found.to_dict()))
    assert content["baseline"] == "float"
    assert (content["test"], content["samples"], content["resamples"]) == ("bs", 60, 60)
    assert content["sentences"] == len(GOOD)
    assert content["systems"][1]["bleu_difference_interval"] == list(
        found.systems[1].bleu_difference_interval
    )
    text = found.to_text()
    assert "paired bootstrap, 60 samples" in text
    assert "int8 against float: BLEU " in text
    assert f"{found.systems[1].different_outputs} of {len(GOOD)} outputs differ" in text
    assert "BLEU|nrefs:2|bs:60|seed:12345|test:wmt14|lang:en-de|case:mixed" in text


@pytest.mark.parametrize(
    ("systems", "options", "message"),
    [
        ({"a": GOOD}, {}, "two systems or more; received 1"),
        ({"a": GOOD, "b": GOOD[:3]}, {}, "'b' has 3 translations, and there are 60 references"),
        ({"a": GOOD, "b": BAD}, {"test": "t"}, "`test` must be one of bs, ar; received 't'"),
        ({"a": GOOD, "b": BAD}, {"samples": 0}, "`samples` must be at least 1; received 0"),
    ],
    ids=str,
)
def test_what_can_not_be_compared_is_refused(systems, options, message):
    with pytest.raises(ValueError, match=message):
        compare_systems(systems, REFERENCES, **options)
