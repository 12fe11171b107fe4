"""Pieces by whatever makes them, ids by lists of tokens: special ones, two vocabularies, saving."""

from __future__ import annotations

import json

import pytest

from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.tokenizers import kinds
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.marian import MarianTokenizer
from keras_int8nmt.tokenizers.piece_tokenizer import PieceTokenizer

SOURCE = ["<blank>", "<s>", "</s>", "a", "b", "a", "<unk>"]
TARGET = ["<blank>", "<s>", "</s>", "x", "yy", "<unk>"]
CONTENT = {
    "pieces": "spaces",
    "source": SOURCE,
    "target": TARGET,
    "unk": "<unk>",
    "bos": "<s>",
    "eos": "</s>",
    "start": "<s>",
    "add_bos": False,
    "add_eos": False,
    "pad_id": 0,
}


def made(folder, files=None, **changed):
    (folder / "pieces.json").write_text(json.dumps(CONTENT | changed))
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    return PieceTokenizer(folder)


def test_spaced_pieces_are_looked_up_as_they_stand(tmp_path):
    tokenizer = made(tmp_path)
    # The first id of a token that is there twice; U+00A0 is no space.
    assert tokenizer.encode(" a  b c a\u00a0b </s>\n") == [3, 4, 6, 6, 2]
    assert tokenizer.encode(" ") == []
    assert not tokenizer.source_eos
    assert tokenizer.encode_target("yy x ?") == [4, 3, 5, 2]
    assert tokenizer.decode([1, 4, 5, 3, 2, 0]) == "yy <unk> x"
    with pytest.raises(ValueError, match="Token id 6 is not in the target vocabulary"):
        tokenizer.decode([3, 6])
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 2, 6)


def test_what_is_put_around_a_source_is_told(tmp_path):
    tokenizer = made(tmp_path, add_bos=True, add_eos=True)
    assert tokenizer.encode("a b") == [1, 3, 4, 2]
    assert tokenizer.encode("") == []
    assert tokenizer.source_eos
    # An end of the source's own is no end token of the model.
    other = made(tmp_path, source=["</s>", *SOURCE[3:]], add_eos=True)
    assert other.encode("a") == [1, 0]
    assert not other.source_eos


def test_characters_have_no_spaces_and_make_no_special_token(tmp_path):
    letters = ["<", "s", ">"]
    tokenizer = made(
        tmp_path,
        pieces="characters",
        source=[*letters, *SOURCE],
        target=[*letters, *TARGET],
        pad_id=3,
    )
    assert tokenizer.encode("a b\n") == tokenizer.encode("ab") == [6, 7]
    assert tokenizer.encode("<s>") == [0, 1, 2]
    assert tokenizer.decode([6, 7, 6, 5]) == "xyyx"
    # One of a single character.
    assert made(tmp_path, pieces="characters", bos="a").encode("ab") == [6, 4]


def test_sentencepiece_makes_the_pieces_of_a_marian_tokenizer(tmp_path):
    marian = MarianTokenizer(FOLDER)
    ids = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))
    tokens = sorted(ids, key=lambda token: ids[token])
    tokenizer = made(
        tmp_path,
        {"pieces.spm": (FOLDER / "source.spm").read_bytes()},
        pieces="sentencepiece",
        source=tokens,
        target=None,
        start="<pad>",
        bos="<pad>",
        add_eos=True,
        pad_id=marian.pad_id,
    )
    for text in ("Good morning, Tom.", "</s> <pad>", "\u4f60", "", "\ud800"):
        assert tokenizer.encode(text) == ([] if not text else marian.encode(text))
        assert tokenizer.encode_target(text) == marian.encode_target(text)
    encoded = marian.encode_target("Where is the station?")
    assert tokenizer.decode(encoded) == "Where is the station?"


def test_subword_nmt_makes_pieces(tmp_path):
    tokenizer = made(
        tmp_path,
        {"pieces.bpe": b"#version: 0.2\nl o\nlo w</w>\n"},
        pieces="subword-nmt",
        source=[*SOURCE, "lo@@", "w", "low"],
        target=None,
    )
    assert tokenizer.encode("low") == [9]
    assert tokenizer.decode([7, 8, 9]) == "low low"


@pytest.mark.parametrize("pieces", ["spaces", "characters"])
def test_what_is_saved_is_the_same_tokenizer(pieces, tmp_path):
    tokenizer = made(tmp_path, pieces=pieces, add_eos=True)
    saved = tmp_path / "saved"
    saved.mkdir()
    tokenizer.save(saved)
    again = kinds.load_tokenizer(saved, [path.name for path in saved.iterdir()])
    assert isinstance(again, PieceTokenizer)
    assert again.files == tokenizer.files
    assert again.encode("a b") == tokenizer.encode("a b")
    assert again.pieces == pieces


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"pieces": "magic"},
            "must be one of sentencepiece, subword-nmt, moses ",
        ),
        ({"pieces": []}, "must be one of"),
        ({"pieces": "sentencepiece"}, "pieces.spm"),
        ({"pieces": "subword-nmt"}, "pieces.bpe"),
        ({"source": {"a": 1}}, "'source' must be a list of tokens"),
        ({"target": ["a", 1]}, "'target' must be a list of tokens"),
        ({"unk": "?"}, r"'unk' is '\?', which is no token"),
        ({"eos": 2}, "'eos' must be of type str"),
        ({"bos": "x", "add_bos": True}, "'bos' is 'x', which is no token"),
        ({"add_eos": 1}, "'add_eos' must be of type bool"),
        ({"pad_id": -1}, "'pad_id' is -1"),
        ({"pad_id": True}, "'pad_id' must be of type int"),
    ],
)
def test_a_damaged_file_is_named(changed, message, tmp_path):
    with pytest.raises(TokenizerError, match=message) as caught:
        made(tmp_path, **changed)
    assert str(tmp_path) in str(caught.value)
