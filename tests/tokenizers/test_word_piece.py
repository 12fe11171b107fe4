"""`WordPieceTokenizer` against what KerasHub's layer gave, and its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.tokenizers import ODD_TEXTS

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.kinds import load_tokenizer
from keras_int8nmt.tokenizers.word_piece import WordPieceTokenizer

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "keras_hub" / "word_piece.json").read_bytes()
)
IDS = {"pad_id": 0, "eos_id": 2}


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: str(case["settings"].values()))
def test_ids_and_texts_are_those_of_keras_hub(case):
    tokenizer = WordPieceTokenizer(GOLDEN["vocabulary"], **IDS, **case["settings"])
    assert len({str(each["ids"]) for each in GOLDEN["cases"]}) == len(GOLDEN["cases"])
    for text, ids, decoded in zip(GOLDEN["texts"], case["ids"], case["decoded"], strict=True):
        assert tokenizer.encode(text) == [*ids, 2], text
        assert tokenizer.decode([*ids, 2, 0]) == decoded.strip(), text


def test_odd_rows_of_ids_are_decoded_as_by_keras_hub():
    tokenizer = WordPieceTokenizer(GOLDEN["vocabulary"], pad_id=10_000, eos_id=10_001)
    for ids, text in zip(GOLDEN["odd_ids"], GOLDEN["odd_texts"], strict=True):
        assert tokenizer.decode([*ids, 10_001]) == text
    with pytest.raises(ValueError, match="Token id 9999 is not"):
        tokenizer.decode([9999])
    assert {0, 10_000, 10_001} < set(tokenizer.source_ids) == set(tokenizer.target_ids)


def test_a_saved_copy_is_the_same_tokenizer(tmp_path):
    settings = {"lowercase": True, "suffix_indicator": "@", "oov_token": "?"}
    tokenizer = WordPieceTokenizer(["<p>", "<e>", "?", "ca", "@t"], pad_id=0, eos_id=1, **settings)
    assert tokenizer.encode("CAT dog") == [3, 4, 2, 1]
    assert tokenizer.decode([3, 4, 2, 1]) == "cat ?"
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path, [path.name for path in tmp_path.iterdir()])
    assert type(again) is WordPieceTokenizer
    assert again.encode("CAT dog") == [3, 4, 2, 1]
    assert (again.pad_id, again.eos_id, again.unk_id) == (0, 1, 2)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: ascii(text)[:20])
def test_odd_text_has_ids_and_ends_once(text):
    pieces = [*GOLDEN["vocabulary"], "</s>"]
    tokenizer = WordPieceTokenizer(pieces, pad_id=0, eos_id=len(pieces) - 1, lowercase=True)
    ids = tokenizer.encode(text)
    assert ids[-1] == tokenizer.eos_id not in ids[:-1]
    assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": "the"}, "list of pieces"),
        ({"vocabulary": [1]}, "list of pieces"),
        ({"vocabulary": ["the"]}, "has no '\\[UNK\\]'"),
        ({"pad_id": -1}, "'pad_id' can't be '-1'"),
        ({"eos_id": True}, "'eos_id' can't be 'True'"),
        ({"eos_id": 0}, "same id 0"),
        ({"lowercase": 1}, "'lowercase' can't be '1'"),
        ({"suffix_indicator": None}, "'suffix_indicator' can't be"),
        ({"more": 1}, "and nothing else"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, change, message):
    WordPieceTokenizer(GOLDEN["vocabulary"], **IDS).save(tmp_path)
    path = tmp_path / "word_piece.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(TokenizerError, match=rf"word_piece\.json.*{message}"):
        WordPieceTokenizer.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"word_piece\.json"):
        WordPieceTokenizer.load(tmp_path)
