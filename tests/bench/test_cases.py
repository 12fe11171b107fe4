"""Names of cases, and what they make an engine do."""

from __future__ import annotations

import pytest

from keras_int8nmt.bench.translation.cases import (
    Case,
    all_cases,
    forced_sources,
    headline_cases,
    make_job,
)
from keras_int8nmt.bench.translation.models import model_settings


def test_a_name_is_the_case():
    case = Case("base", 4, 32, 2, 27)
    assert str(case) == "base beam4 b32 s2 27tok"
    assert Case.parse(str(case)) == case
    assert Case.parse("tiny beam1 b1 s1 tatoeba") == Case("tiny", 1, 1, 1)


@pytest.mark.parametrize(
    "name", ["", "base", "base beam4 b32 s2", "base beam0 b1 s1 8tok", "base beam1 b1 s1 1tok"]
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="is not a case"):
        Case.parse(name)


def test_headline_cases_come_first_and_no_case_comes_twice():
    cases = all_cases(2)
    assert [str(case) for case in headline_cases(2)] == [
        "base beam4 b32 s2 27tok",
        "base beam1 b32 s2 27tok",
        "base beam1 b1 s1 27tok",
    ]
    assert cases[:3] == headline_cases(2)
    assert len(set(cases)) == len(cases) == 2 * 2 * 4 * 3 + 6
    assert {case.streams for case in all_cases(1)} == {1}


@pytest.mark.parametrize(
    ("case", "sentences"),
    [
        (Case("base", 4, 32, 2, 27), 128),
        (Case("base", 1, 128, 1, 8), 256),
        (Case("base", 1, 1, 1, 8), 8),
        (Case("base", 1, 1, 2, 8), 8),
    ],
)
def test_streams_are_kept_busy_with_full_batches(case, sentences):
    assert case.sentences == sentences


def test_a_forced_case_fixes_both_lengths():
    settings = model_settings("nano")
    case = Case("nano", 4, 2, 2, 9)
    job = make_job(case, forced_sources(case, settings), settings["max_length"])
    assert job.min_length == job.max_length == 10
    assert {len(sentence) for sentence in job.sentences} == {9}
    special = {settings["pad_id"], settings["eos_id"]}
    assert all(s[-1] == settings["eos_id"] and not special & set(s[:-1]) for s in job.sentences)
    free = make_job(Case("tiny", 1, 2, 1), [[5, 0]], 256)
    assert (free.min_length, free.max_length) == (0, 256)
