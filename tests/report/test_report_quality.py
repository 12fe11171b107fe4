"""Translations compared: scores, certainty, and the sentences that differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sacrebleu.metrics import BLEU, CHRF

from keras_int8nmt.evaluation import significance
from keras_int8nmt.report.quality import Interval, Metric, compare_translations
from keras_int8nmt.report.quality_html import mark_differences, quality_section
from keras_int8nmt.report.text import signed

REFERENCES = [
    "Der Hund schläft im Garten.",
    "Wir gehen heute nach Hause.",
    "Das ist gut so.",
    "Sie liest ein altes Buch.",
]
SOURCES = [
    "The dog sleeps in the garden.",
    "We go home today.",
    "It is fine.",
    "She reads an old book.",
]
AFTER = [REFERENCES[0], "Wir bleiben hier.", "Das ist gut so!", REFERENCES[3]]


def html(quality):
    return "\n".join(quality_section(quality))


def test_scores_are_sacrebleus():
    quality = compare_translations(REFERENCES, AFTER, SOURCES, REFERENCES)
    bleu, chrf = quality.metrics
    assert (bleu.name, chrf.name) == ("BLEU", "chrF")
    assert bleu.before.score == pytest.approx(100.0)
    expected = BLEU().corpus_score(AFTER, [REFERENCES], n_bootstrap=1000)
    assert bleu.after.score == expected.score
    assert bleu.after.half_width == pytest.approx(expected._ci)
    assert bleu.after.mean == pytest.approx(expected._mean)
    assert chrf.after.score == CHRF().corpus_score(AFTER, [REFERENCES]).score
    assert 0 < bleu.p_value <= 1
    assert "bs:1000" in bleu.signature
    assert "seed:12345" in bleu.signature


def test_what_differs_is_counted_and_the_largest_change_comes_first():
    quality = compare_translations(REFERENCES, AFTER, SOURCES, REFERENCES)
    assert quality.sentences == 4
    assert (quality.differing, quality.better, quality.worse, quality.level) == (2, 0, 2, 0)
    first, second = quality.examples
    assert (first.line, second.line) == (2, 3)
    assert first.source == SOURCES[1]
    assert first.reference == first.before == REFERENCES[1]
    assert first.after == AFTER[1]
    expected = CHRF().sentence_score(AFTER[1], [REFERENCES[1]]).score
    assert first.chrf_after == expected
    assert first.change == expected - first.chrf_before
    assert abs(first.change) > abs(second.change)
    only = compare_translations(REFERENCES, AFTER, SOURCES, REFERENCES, most=1)
    assert [e.line for e in only.examples] == [2]
    assert only.differing == 2


def test_of_equal_changes_the_less_alike_comes_first():
    before = ["x y z", "Das ist gut so", "q"]
    after = ["x y w", "q r s", "q"]
    # No character is in the references, so every chrF is 0.
    quality = compare_translations(before, after, ["a", "b", "c"], ["0", "1", "2"])
    assert (quality.differing, quality.level) == (2, 2)
    assert [e.line for e in quality.examples] == [2, 1]


def test_the_difference_has_the_interval_that_evaluate_gives():
    quality = compare_translations(REFERENCES, AFTER, SOURCES, REFERENCES)
    systems = {"float": REFERENCES, "int8": AFTER}
    expected = significance.compare_systems(systems, REFERENCES).systems[1]
    low, high = quality.bleu_difference_interval
    assert (low, high) == expected.bleu_difference_interval
    assert low < high <= 0
    assert f"95 % of resamples in [{signed(low)}, {signed(high)}]." in html(quality)


def test_equal_translations_are_no_difference():
    quality = compare_translations(AFTER, list(AFTER), SOURCES, REFERENCES)
    assert [m.p_value for m in quality.metrics] == [1.0, 1.0]
    assert (quality.differing, quality.examples) == (0, ())
    assert quality.bleu_difference_interval == (0, 0)
    assert "resamples in" not in html(quality)
    assert "None of 4." in html(quality)
    assert "BLEU does not differ." in html(quality)


def test_one_side_alone_has_scores():
    quality = compare_translations(None, AFTER, SOURCES, REFERENCES)
    assert quality.metrics[0].before is None
    assert quality.metrics[0].p_value is None
    assert quality.metrics[0].after.half_width > 0
    assert quality.differing is None
    page = html(quality)
    assert "Difference" not in page
    assert "Translations that differ" not in page


def test_counts_must_agree():
    with pytest.raises(ValueError, match="4 sources and 3 references"):
        compare_translations(AFTER, AFTER, SOURCES, REFERENCES[:3])
    with pytest.raises(ValueError, match="4 sources and 2 translations"):
        compare_translations(AFTER[:2], AFTER, SOURCES, REFERENCES)
    with pytest.raises(ValueError, match="0 sources"):
        compare_translations([], [], [], [])


def test_the_section_shows_sentences_and_scores():
    page = html(compare_translations(REFERENCES, AFTER, SOURCES, REFERENCES))
    for text in (SOURCES[1], REFERENCES[1], "2 of 4", "50.0 %", "100.00"):
        assert text in page
    assert "Wir <mark>bleiben" in page
    assert SOURCES[0] not in page


@pytest.mark.parametrize(
    ("p_value", "after", "interval", "verdict"),
    [
        (0.2, 31.0, (0.1, 2.0), "The difference in BLEU is within chance."),
        (0.01, 29.0, (-2.0, -0.1), "INT8 is worse by BLEU, significantly so at the 5 % level."),
        (0.01, 31.0, (0.1, 2.0), "INT8 is better by BLEU, significantly so at the 5 % level."),
        (0.01, 31.0, None, "INT8 is better by BLEU, significantly so at the 5 % level."),
        (0.01, 31.0, (-0.1, 2.0), "The difference in BLEU is within chance."),
        (0.01, 29.0, (-2.0, 0.0), "The difference in BLEU is within chance."),
    ],
)
def test_the_verdict_follows_p_and_never_stands_beside_an_interval_that_holds_none(
    p_value, after, interval, verdict
):
    quality = replace(
        compare_translations(REFERENCES, AFTER, SOURCES, REFERENCES),
        bleu_difference_interval=interval,
    )
    metric = Metric("BLEU", "s", Interval(30.0, 30.0, 1.0), Interval(after, after, 1.0), p_value)
    assert verdict in html(type(quality)(**{**vars(quality), "metrics": (metric,)}))


def test_words_that_differ_are_marked():
    assert mark_differences("a b c.", "a x c!") == (
        "a <mark>b</mark> c<mark>.</mark>",
        "a <mark>x</mark> c<mark>!</mark>",
    )
    assert mark_differences("<b>", "") == ("<mark>&lt;b&gt;</mark>", "")
    assert mark_differences("same", "same") == ("same", "same")
