"""What a model says of a search: it counts where nothing was asked for, and is saved."""

from __future__ import annotations

import json

import pytest

from keras_int8nmt.runtime.search_defaults import SearchDefaults, of_model
from keras_int8nmt.runtime.token_bans import FirstToken, NoSequences

FULL = {
    "beam_size": 6,
    "num_hypotheses": 2,
    "max_length": 511,
    "min_length": 3,
    "length_penalty": 0.6,
    "no_repeat_ngram_size": 4,
    "token_filters": (NoSequences(((3, 4), (5,))), FirstToken(7, 41)),
}


def test_what_is_saved_is_the_same_again():
    content = json.loads(json.dumps(SearchDefaults(FULL).to_json()))
    assert dict(SearchDefaults.from_json(content)) == FULL
    assert SearchDefaults().to_json() == {}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"x": 1},
        {"beam_size": 0},
        {"beam_size": "6"},
        {"token_filters": 3},
        {"token_filters": [{"x": []}]},
        {"token_filters": [{"no_sequences": 3}]},
        {"token_filters": [{"no_sequences": [[]]}]},
        {"token_filters": [{"no_sequences": [["a"]]}]},
        {"token_filters": [{"first_token": [1]}]},
        {"token_filters": [{"first_token": [5, 5]}]},
    ],
    ids=str,
)
def test_what_can_not_be_saved_is_refused(content):
    with pytest.raises(ValueError, match="the defaults of its search"):
        SearchDefaults.from_json(content)


def test_what_was_asked_for_wins():
    defaults = SearchDefaults(FULL)
    asked = {"beam_size": of_model(4), "max_length": 256, "streams": 2, "min_length": of_model(0)}
    assert defaults.resolved(asked) == {
        **{"beam_size": 6, "max_length": 256, "streams": 2, "min_length": 3}
    }
    assert SearchDefaults().resolved(asked) == asked


def test_the_models_word_does_not_stand_against_what_was_asked_for():
    defaults = SearchDefaults({"beam_size": 6, "num_hypotheses": 5, "min_length": 20})
    given = {"beam_size": 2, "num_hypotheses": of_model(1)}
    assert defaults.resolved(given)["num_hypotheses"] == 2
    given = {"max_length": 5, "min_length": of_model(0)}
    assert defaults.resolved(given)["min_length"] == 5


@pytest.mark.parametrize("value", [4, 1.0, ()])
def test_a_default_that_gives_way_is_the_same_value(value):
    assert of_model(value) == value
    assert repr(of_model(value)) == repr(value)


@pytest.mark.parametrize(
    ("tokens", "forbidden"),
    [([], {5}), ([3], {4, 5}), ([4, 3], {4, 5}), ([3, 4], {5}), ([1, 2], {5, 3})],
)
def test_a_sequence_is_never_finished(tokens, forbidden):
    assert NoSequences(((3, 4), (5,), (1, 2, 3))).forbidden(tokens) == forbidden


def test_one_token_comes_first():
    assert FirstToken(2, 4).forbidden([]) == {0, 1, 3}
    assert FirstToken(2, 4).forbidden([1]) == set()
