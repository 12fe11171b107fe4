"""Token filters on both engines: the same answers, in which nothing is that they forbid."""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest
from helpers.models import calibrate_eagerly, random_ids, small_model

from keras_int8nmt import (
    Translator,
    convert,
    load_folder,
    native,
    save_folder,
)
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.runtime import native_decoder
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.runtime.token_bans import FirstToken, NoSequences
from keras_int8nmt.runtime.token_filters import NativeFilter, TokenFilter
from keras_int8nmt.storage.card import CARD_FILE, seal_card
from keras_int8nmt.storage.folders import ModelFolderError

pytestmark = pytest.mark.skipif(
    native.reason() is not None, reason=f"no native library: {native.reason()}"
)


@pytest.fixture(scope="module")
def model():
    made = small_model(target_vocabulary_size=9, source_vocabulary_size=30)
    rows = np.full((4, 3), 7, np.int32)
    sample = {"source": rows, "target": rows}
    calibrate_eagerly(made, sample, mode="conjugate")
    return convert(made)


def both(model, **options):
    ids = random_ids(model)
    found = []
    for path in ("fast", "layers"):
        with Translator(model, None, path=path, max_length=12, **options) as translator:
            found.append(translator.translate_ids(ids))
    assert found[0] == found[1]
    return [h.tokens for r in found[0] for h in r.hypotheses]


@pytest.fixture(scope="module")
def plain(model):
    """What is found without a filter; searched once with each options."""

    @functools.cache
    def find(options):
        return both(model, **dict(options))

    return lambda **options: find(tuple(options.items()))


def repeats(tokens, size):
    runs = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    return len(runs) != len(set(runs))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1},
        {"beam_size": 4, "num_hypotheses": 4},
        {"beam_size": 3, "min_length": 11, "num_hypotheses": 3, "batch_size": 5},
    ],
    ids=str,
)
def test_no_run_occurs_twice_with_the_same_bits_on_both_engines(model, plain, size, options):
    assert any(repeats(tokens, size) for tokens in plain(**options))
    found = both(model, no_repeat_ngram_size=size, **options)
    assert found
    assert not any(repeats(tokens, size) for tokens in found)


@pytest.mark.parametrize("options", [{"beam_size": 1}, {"beam_size": 4, "num_hypotheses": 4}])
def test_banned_sequences_and_a_first_token_are_the_same_on_both_engines(model, plain, options):
    free = plain(**options)
    pair = next(tuple(tokens[:2]) for tokens in free if len(tokens) > 3 and tokens[0] != tokens[1])
    banned = NoSequences((pair, (free[-1][0],)))
    found = both(model, token_filters=[banned], **options)
    assert not any(free[-1][0] in tokens for tokens in found)
    assert not any(pair in itertools.pairwise(tokens) for tokens in found)
    first = next(token for token in range(2, 9) if token not in {tokens[0] for tokens in free})
    found = both(model, token_filters=[FirstToken(first, 9)], **options)
    assert {tokens[0] for tokens in found} == {first}


def test_what_a_model_says_of_a_search_counts_and_what_was_asked_for_wins(model, tmp_path):
    said = SearchDefaults(
        {"beam_size": 2, "max_length": 7, "token_filters": (NoSequences(((3,),)),)}
    )
    model.search_defaults = said
    try:
        assert Translator(model, None).options == SearchOptions(**said)
        assert Translator(model, None, beam_size=4, token_filters=[]).options == SearchOptions(
            beam_size=4, max_length=7
        )
        save_folder(model, tmp_path / "saved")
        again = load_folder(tmp_path / "saved")[0]
        assert again.search_defaults.to_json() == said.to_json()
        with Translator.load(tmp_path / "saved") as translator:
            assert translator.options == SearchOptions(**said)
    finally:
        del model.search_defaults
    card = tmp_path / "saved" / CARD_FILE
    seal_card(card.parent, {**json.loads(card.read_text()), "search_defaults": {"beam_size": "x"}})
    for load in (Translator.load, load_folder):
        with pytest.raises(ModelFolderError, match=r"model_card\.json.*defaults of its search"):
            load(tmp_path / "saved")


def test_a_model_that_is_made_of_another_is_searched_alike():
    made = small_model()
    made.search_defaults = SearchDefaults({"beam_size": 3})
    assert plain_model(made).search_defaults["beam_size"] == 3
    assert convert(made, activations="dynamic").search_defaults["beam_size"] == 3


@dataclass(frozen=True)
class Once(TokenFilter):
    """No token occurs twice, in Python; in the native decoder by a kind of its table."""

    kind: str = "no_repeat_ngram"
    numbers: tuple[int, ...] = (1,)

    def forbidden(self, tokens):
        return tokens

    def native(self):
        return NativeFilter(self.kind, self.numbers)


def test_a_filter_of_ones_own_takes_a_kind_of_the_native_decoder(model):
    options = {"beam_size": 3, "min_length": 4}
    assert both(model, token_filters=[Once()], **options) == both(
        model, no_repeat_ngram_size=1, **options
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Once(kind="twice"), 'there is no token filter "twice"'),
        (Once(numbers=(0,)), "no_repeat_ngram wants one number from 1 on"),
        (Once(numbers=()), "no_repeat_ngram wants one number from 1 on"),
        (Once("sequences", (2, 1)), "sequences wants lengths and so many tokens"),
        (Once("sequences", (0,)), "sequences wants lengths and so many tokens"),
        (Once("sequences", (1, 1 << 31)), "there is no such token id"),
        (Once("first_token", (3,)), "first_token wants a token and their number"),
        (Once("first_token", (3, 3)), "first_token wants a token and their number"),
    ],
)
def test_what_the_native_decoder_can_not_make_is_named(model, broken, message):
    with pytest.raises(RuntimeError, match=message):
        Translator(model, None, path="fast", token_filters=[broken]).translate_ids([[5, 1]])


def test_options_of_another_size_are_refused(model, monkeypatch):
    class Longer(native_decoder._SearchOptions):
        _fields_ = [("one_more", native_decoder.ctypes.c_int64)]

    monkeypatch.setattr(native_decoder, "_SearchOptions", Longer)
    with pytest.raises(RuntimeError, match=r"the options of the search have 56 bytes .* 48"):
        Translator(model, None, path="fast").translate_ids([[5, 1]])
