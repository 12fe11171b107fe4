"""What a folder asks of a search: what ours can do, what it can't, and what can't be asked."""

from __future__ import annotations

import json
import os

import pytest

from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.generation_config import FILE, not_done_message, read_generation
from keras_int8nmt.runtime.token_bans import FirstToken, NoSequences

PAD, EOS, VOCABULARY = 40, 0, 41
CONFIG = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "eos_token_id": EOS}


def generation(folder, asked, **config):
    (folder / FILE).write_text(json.dumps(asked))
    return read_generation(folder, {**CONFIG, **config})


@pytest.mark.parametrize(
    ("asked", "defaults"),
    [
        ({}, {}),
        ({"num_beams": 6, "length_penalty": 1.5}, {"beam_size": 6, "length_penalty": 1.5}),
        ({"num_beams": None, "max_length": None}, {}),
        # The start token counts there.
        ({"max_length": 512}, {"max_length": 511}),
        ({"max_length": 1}, {"max_length": 1}),
        ({"max_length": 512, "max_new_tokens": 100}, {"max_length": 100}),
        # As many new tokens, the end token among them.
        ({"min_length": 5}, {"min_length": 5}),
        ({"min_length": 0}, {}),
        ({"min_length": 5, "min_new_tokens": 3}, {"min_length": 4}),
        ({"min_length": 50, "max_length": 11}, {"min_length": 10, "max_length": 10}),
        ({"no_repeat_ngram_size": 3}, {"no_repeat_ngram_size": 3}),
        ({"num_beams": 3, "num_return_sequences": 2}, {"beam_size": 3, "num_hypotheses": 2}),
        # What the search does anyhow.
        ({"bad_words_ids": [[PAD], [EOS]], "forced_eos_token_id": EOS}, {}),
        (
            {"bad_words_ids": [[PAD], [3, 4], [5]], "suppress_tokens": [5, 6]},
            {"token_filters": (NoSequences(((3, 4), (5,), (6,))),)},
        ),
        ({"forced_bos_token_id": 7}, {"token_filters": (FirstToken(7, VOCABULARY),)}),
    ],
    ids=str,
)
def test_what_the_search_can_do_becomes_its_default(asked, defaults, tmp_path):
    found = generation(tmp_path, {**asked, "transformers_version": "4.30", "top_k": 50})
    assert dict(found.defaults) == defaults
    assert found.not_done == ()
    assert not_done_message(tmp_path, found) is None


def test_the_start_token_of_the_search_wins(tmp_path):
    assert generation(tmp_path, {"decoder_start_token_id": 3}).start_id == 3
    assert generation(tmp_path, {}).start_id is None


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"repetition_penalty": 1.5}, "repetition_penalty=1.5"),
        ({"early_stopping": True}, "early_stopping=True"),
        ({"early_stopping": "never"}, "early_stopping='never'"),
        ({"do_sample": True, "temperature": 0.5}, "do_sample=True"),
        ({"num_beam_groups": 2, "diversity_penalty": 0.5}, "num_beam_groups=2, diversity"),
        ({"forced_eos_token_id": 5}, "forced_eos_token_id=5"),
        ({"eos_token_id": [0, 5]}, "eos_token_id=a list"),
        ({"sequence_bias": [[[3], -1.0]]}, "sequence_bias=a list"),
        ({"a_word_of_tomorrow": 1}, "a_word_of_tomorrow=1"),
        ({"\n\x1b": 1}, r"\\n\\x1b=1"),
    ],
    ids=str,
)
def test_what_the_search_can_not_do_is_told_in_one_line(asked, told, tmp_path):
    found = generation(tmp_path, asked)
    message = not_done_message(tmp_path, found)
    assert FILE in message
    assert told.replace(r"\\", "\\") in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "nothing",
    [
        {"repetition_penalty": 1.0, "do_sample": False, "early_stopping": False},
        {"num_beam_groups": 1, "diversity_penalty": 0.0, "sequence_bias": None},
        {"eos_token_id": [EOS], "renormalize_logits": False, "output_scores": True},
        {"temperature": 0.1, "top_p": 0.5, "use_cache": False, "a_word_of_tomorrow": None},
    ],
    ids=str,
)
def test_what_asks_for_nothing_is_not_told(nothing, tmp_path):
    assert generation(tmp_path, nothing).not_done == ()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_file_is_told(make, tmp_path):
    make(tmp_path / FILE)
    with pytest.raises(MarianFormatError, match=r"generation_config\.json"):
        read_generation(tmp_path, CONFIG)


def test_an_older_folder_asks_in_its_config(tmp_path):
    config = {**CONFIG, "num_beams": 6, "max_length": 512, "bad_words_ids": [[PAD]]}
    found = read_generation(tmp_path, {**config, "repetition_penalty": 2.0, "d_model": 512})
    assert dict(found.defaults) == {"beam_size": 6, "max_length": 511}
    assert found.not_done == ("repetition_penalty=2.0",)
    assert "config.json" in not_done_message(tmp_path, found)
    # Where there are both, the newer one alone counts, as in `transformers`.
    assert dict(generation(tmp_path, {"num_beams": 2}, num_beams=6).defaults) == {"beam_size": 2}


@pytest.mark.parametrize(
    "asked",
    [
        [],
        {"num_beams": "4"},
        {"num_beams": 0},
        {"num_beams": 10**400},
        {"num_beams": 2, "num_return_sequences": 3},
        {"max_length": 0},
        {"max_length": -7},
        {"max_length": 20.0},
        {"max_new_tokens": True},
        {"min_length": -1},
        {"length_penalty": "1"},
        {"length_penalty": 1e308},
        {"no_repeat_ngram_size": -1},
        {"bad_words_ids": 3},
        {"bad_words_ids": [3]},
        {"bad_words_ids": [[]]},
        {"bad_words_ids": [[VOCABULARY]]},
        {"bad_words_ids": [[1.0]]},
        {"suppress_tokens": [-1]},
        {"suppress_tokens": [[1]]},
        {"suppress_tokens": list(range(20000))},
        {"forced_bos_token_id": VOCABULARY},
        {"forced_bos_token_id": "de"},
        {"decoder_start_token_id": VOCABULARY},
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_can_not_be_asked_is_an_error_that_names_the_file(asked, tmp_path):
    with pytest.raises(MarianFormatError, match=r"generation_config\.json"):
        generation(tmp_path, asked)
