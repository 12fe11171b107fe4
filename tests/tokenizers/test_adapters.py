"""`as_tokenizer`: what is taken for a tokenizer, and what is told of anything else."""

from __future__ import annotations

import numpy as np
import pytest
import sentencepiece
from helpers.letters import LetterTokenizer
from helpers.tokenizers import OUR_IDS, live_tokenizer, sentencepiece_model

from keras_int8nmt.tokenizers.adapters import as_tokenizer, tokenizer_for
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.hugging_face import HuggingFaceTokenizer
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer


def test_a_tokenizer_is_given_back_as_it_is():
    class Counted(LetterTokenizer):
        pad_id = np.int64(0)

    for each in (LetterTokenizer(), Counted(), HuggingFaceTokenizer(live_tokenizer())):
        assert as_tokenizer(each, pad_id=5) is each


def test_a_sentencepiece_processor():
    live = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(**OUR_IDS))
    made = as_tokenizer(live, pad_id=7, eos_id=8)
    assert type(made) is SentencePieceTokenizer
    # Its own ids go first.
    assert (made.pad_id, made.eos_id) == (0, 1)
    assert made.encode("the cat") == [*live.encode("the cat"), 1]


def test_one_without_padding_has_that_of_the_model():
    live = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    with pytest.raises(TokenizerError, match="has no pad_id"):
        as_tokenizer(live)
    # What Keras masks, which is SentencePiece's unknown piece.
    assert as_tokenizer(live, pad_id=0).pad_id == 0
    with pytest.raises(TokenizerError, match=r"the model's, 5, is its piece .*pad_id=5"):
        as_tokenizer(live, pad_id=5)
    model = type("Model", (), {"pad_id": 100, "eos_id": 2})
    assert tokenizer_for(model, live).pad_id == 100
    assert tokenizer_for(object(), LetterTokenizer()).pad_id == 0


def test_a_tokenizer_of_the_tokenizers_package():
    made = as_tokenizer(live_tokenizer())
    assert type(made) is HuggingFaceTokenizer
    assert made.encode("the cat") == live_tokenizer().encode("the cat").ids


def test_a_fast_tokenizer_of_transformers():
    # As those are: a class of that package that holds the other's object.
    kind = type(
        "PreTrainedTokenizerFast",
        (),
        {
            "__module__": "transformers.tokenization_utils_fast",
            "backend_tokenizer": live_tokenizer(),
            "pad_token": "<s>",
            "eos_token": "</s>",
        },
    )
    made = as_tokenizer(kind())
    assert type(made) is HuggingFaceTokenizer
    assert (made.pad_id, made.eos_id) == (3, 1)


@pytest.mark.parametrize(
    ("other", "lacking"),
    [
        ("spm.model", r"A str is no tokenizer: it lacks decode\(\), pad_id, eos_id"),
        (object(), r"lacks encode\(\), decode\(\), pad_id, eos_id"),
        (type("Ids", (LetterTokenizer,), {"pad_id": None})(), "Ids .* it lacks pad_id. Expected"),
        (type("Ids", (LetterTokenizer,), {"eos_id": True})(), "it lacks eos_id. Expected"),
        (type("Ids", (LetterTokenizer,), {"decode": 1})(), r"it lacks decode\(\). Expected"),
    ],
)
def test_anything_else_is_told_what_it_lacks_and_what_is_taken(other, lacking):
    with pytest.raises(TypeError, match=lacking) as caught:
        as_tokenizer(other)
    for told in ("a SentencePieceProcessor", "a tokenizers.Tokenizer", "docs/tokenizers.md"):
        assert told in str(caught.value)
