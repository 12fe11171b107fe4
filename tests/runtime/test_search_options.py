"""The options of a search: their checks, what an unfinished output is compared by, and filters."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import dataclass, fields

import pytest

from keras_int8nmt.cli.options import add_search
from keras_int8nmt.runtime.no_repeat_ngram import NoRepeatNgram
from keras_int8nmt.runtime.search_options import SearchOptions, command_line_options
from keras_int8nmt.runtime.token_filters import TokenFilter, native_refusal
from keras_int8nmt.translation.translator import Translator

# As release 0.1.0 wrote it.
OLD_KEY = {"beam_size": 4, "max_length": 256, "length_penalty": 1.0}


@dataclass(frozen=True)
class Never(TokenFilter):
    token: int

    def forbidden(self, tokens):
        return [self.token]


def test_a_translator_has_every_option_with_its_default():
    arguments = inspect.signature(Translator).parameters
    for option in fields(SearchOptions):
        assert arguments[option.name].default == option.default
        assert arguments[option.name].kind is inspect.Parameter.KEYWORD_ONLY


def test_every_option_that_changes_answers_changes_the_key():
    other = {
        "beam_size": 5,
        "num_hypotheses": 2,
        "max_length": 255,
        "min_length": 1,
        "length_penalty": 0.5,
        "no_repeat_ngram_size": 3,
        "token_filters": (Never(7),),
    }
    assert {*other, "return_scores"} == {option.name for option in fields(SearchOptions)}
    keys = [SearchOptions(**{name: value}).resume_key() for name, value in other.items()]
    assert all(key != OLD_KEY for key in keys)
    assert SearchOptions(return_scores=False).resume_key() == OLD_KEY
    filtered = [SearchOptions(token_filters=[Never(i)]).resume_key() for i in (7, 7, 8)]
    assert filtered[0] == filtered[1] != filtered[2]


def test_an_output_that_an_earlier_release_began_has_the_same_key():
    assert SearchOptions().resume_key() == OLD_KEY
    asked = {"beam_size": 1, "max_length": 9, "length_penalty": 0.6, "streams": 2, "sort": "none"}
    old = {name: asked[name] for name in OLD_KEY}
    assert SearchOptions.of({**asked, "no_repeat_ngram_size": 0}).resume_key() == old


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beam_size": True}, TypeError, "`beam_size` must be a whole number; received True"),
        ({"no_repeat_ngram_size": -1}, ValueError, "must be at least 0; received -1"),
        ({"no_repeat_ngram_size": 2.0}, TypeError, "`no_repeat_ngram_size` must be a whole"),
        ({"token_filters": [print]}, TypeError, "`token_filters` must be of TokenFilter"),
        ({"beam_size": 2, "num_hypotheses": 3}, ValueError, "is 3, more than `beam_size`, 2"),
    ],
)
def test_what_is_out_of_range_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        SearchOptions(**options)


def test_a_shorter_model_bounds_the_length_and_is_checked_against():
    assert SearchOptions().at_most(40).max_length == 40
    assert SearchOptions(max_length=9).at_most(40).max_length == 9
    with pytest.raises(ValueError, match="`min_length` is 50, more than the maximum length 40"):
        SearchOptions(min_length=50).at_most(40)


def test_the_command_line_has_the_options_that_say_what_they_do():
    parser = argparse.ArgumentParser()
    add_search(parser)
    assert SearchOptions.of(vars(parser.parse_args([]))) == SearchOptions()
    given = ["--beam-size", "2", "--no-repeat-ngram-size", "3", "--length-penalty", "0.5"]
    assert SearchOptions.of(vars(parser.parse_args(given))) == SearchOptions(
        beam_size=2, no_repeat_ngram_size=3, length_penalty=0.5
    )
    flags = [option.flag for option in command_line_options()]
    assert flags == ["--beam-size", "--max-length", "--length-penalty", "--no-repeat-ngram-size"]


def test_options_that_stand_for_filters_make_them():
    assert SearchOptions().filters() == ()
    options = SearchOptions(no_repeat_ngram_size=3, token_filters=[Never(7)])
    assert options.filters() == (NoRepeatNgram(3), Never(7))


def test_the_native_decoder_names_the_filters_that_it_has_not():
    assert native_refusal(()) is None
    assert native_refusal([Never(7)]) == "the native decoder has no token filter Never"


@pytest.mark.parametrize(
    ("size", "tokens", "forbidden"),
    [
        (1, [], set()),
        (1, [5, 6, 5], {5, 6}),
        (2, [5], set()),
        (2, [5, 6, 5], {6}),
        (2, [5, 5], {5}),
        (2, [5, 6, 5, 7, 5], {6, 7}),
        (3, [5, 6], set()),
        (3, [5, 6, 7, 5, 6], {7}),
        (3, [5, 5, 5], {5}),
        (4, [5, 6, 5], set()),
    ],
)
def test_a_run_that_would_occur_again_is_forbidden(size, tokens, forbidden):
    assert NoRepeatNgram(size).forbidden(tokens) == forbidden
