"""`SubwordNMTTokenizer`: files, ids, special tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.kinds import load_tokenizer
from keras_int8nmt.tokenizers.subword_nmt import BytePairEncoding
from keras_int8nmt.tokenizers.subword_tokenizer import SubwordNMTTokenizer

DATA = Path(__file__).parents[1] / "data" / "subword_nmt"
CODES = DATA / "codes_0.2"
TEXT = "the lowest wall of the tower"


@pytest.fixture(scope="module")
def vocabulary():
    counts = (DATA / "vocabulary_0.2").read_text(encoding="utf-8").split("\n")[:-1]
    letters = sorted({*TEXT} - {" "})
    pieces = [*(line.split()[0] for line in counts), *letters, *(f"{each}@@" for each in letters)]
    every = dict.fromkeys(["</s>", "<unk>", *pieces, ">>deu<<", "<pad>"])
    return {piece: i for i, piece in enumerate(every)}


@pytest.fixture
def folder(tmp_path, vocabulary):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "source.bpe").write_bytes(CODES.read_bytes())
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    return folder


def test_ids_are_those_of_the_pieces_and_the_end(folder, vocabulary):
    tokenizer = SubwordNMTTokenizer(folder)
    pieces = BytePairEncoding(CODES.read_bytes()).encode(TEXT)
    assert tokenizer.encode(TEXT) == [*(vocabulary[piece] for piece in pieces), 0]
    assert tokenizer.encode_target(TEXT) == tokenizer.encode(TEXT)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert (tokenizer.eos_id, tokenizer.unk_id) == (0, 1)
    assert tokenizer.pad_id == vocabulary["<pad>"]
    assert tokenizer.encode("") == tokenizer.encode(" ") == [0]
    assert set(tokenizer.source_ids) == set(tokenizer.target_ids) == set(vocabulary.values())


def test_special_tokens_in_a_text_are_plain_text(folder):
    tokenizer = SubwordNMTTokenizer(folder)
    for text in ("</s>", "<pad> a", "the </s>"):
        assert not {tokenizer.eos_id, tokenizer.pad_id} & set(tokenizer.encode(text)[:-1])


@pytest.mark.parametrize("text", ["\u200b", "\U0001f600", "\ud83d", "a" * 100_000, "\u65e5\u672c"])
def test_odd_text_has_ids(folder, text):
    tokenizer = SubwordNMTTokenizer(folder)
    ids = tokenizer.encode(text)
    assert ids[-1] == 0
    assert set(ids) <= set(tokenizer.source_ids)
    assert isinstance(tokenizer.decode(ids), str)


def test_a_language_code_is_one_token(folder, vocabulary):
    tokenizer = SubwordNMTTokenizer(folder)
    assert tokenizer.language_codes == [">>deu<<"]
    assert tokenizer.encode(f">>deu<< {TEXT}") == [vocabulary[">>deu<<"], *tokenizer.encode(TEXT)]
    assert not tokenizer.has_text(">>deu<< ")
    assert tokenizer.has_text(f">>deu<< {TEXT}")
    assert "has >>deu<<" in tokenizer.remark(">>xyz<< a")
    assert tokenizer.encode(f">>xyz<< {TEXT}") == [1, *tokenizer.encode(TEXT)]


def test_a_target_of_its_own(folder, vocabulary):
    plain = SubwordNMTTokenizer(folder)
    special = {"</s>", "<unk>", "<pad>"}
    turned = dict(vocabulary)
    words = [piece for piece in vocabulary if piece not in special]
    turned.update(zip(words, [vocabulary[word] for word in reversed(words)], strict=True))
    (folder / "target_vocab.json").write_text(json.dumps(turned), encoding="utf-8")
    (folder / "target.bpe").write_bytes(b"#version: 0.2\nt h\nth e</w>\n")
    tokenizer = SubwordNMTTokenizer(folder)
    assert tokenizer.encode(TEXT) == plain.encode(TEXT)
    assert tokenizer.encode_target("the") == [turned["the"], 0]
    assert len(tokenizer.encode_target("lowers")) == 7 > len(tokenizer.encode("lowers"))
    assert tokenizer.decode(tokenizer.encode_target(TEXT)) == TEXT
    (folder / "target_vocab.json").write_text(json.dumps({**turned, "</s>": 10_000}))
    with pytest.raises(TokenizerError, match=r"target_vocab\.json.* gives '</s>' another id"):
        SubwordNMTTokenizer(folder)


def test_rare_pieces_are_not_made_where_the_files_say_so(folder, tmp_path, vocabulary):
    made = SubwordNMTTokenizer.from_files(
        CODES, vocabulary, piece_counts=DATA / "vocabulary_0.2", vocabulary_threshold=4
    )
    plain = SubwordNMTTokenizer(folder)
    assert len(made.encode(TEXT)) > len(plain.encode(TEXT))
    made.save(folder)
    again = load_tokenizer(folder, [path.name for path in folder.iterdir()])
    assert again.encode(TEXT) == made.encode(TEXT)
    assert again.encode_target(TEXT) == made.encode_target(TEXT)
    assert again.decode(made.encode(TEXT)) == TEXT


def test_a_saved_copy_is_the_same_tokenizer(vocabulary, tmp_path):
    renamed = {{"<pad>": "[PAD]"}.get(piece, piece): i for piece, i in vocabulary.items()}
    tokenizer = SubwordNMTTokenizer.from_files(CODES, renamed, pad_token="[PAD]")
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path, [path.name for path in tmp_path.iterdir()])
    assert type(again) is SubwordNMTTokenizer
    assert again.files == tokenizer.files
    assert again.encode(TEXT) == tokenizer.encode(TEXT)
    assert again.pad_id == renamed["[PAD]"]


def test_an_id_outside_the_vocabulary_is_refused(folder):
    with pytest.raises(ValueError, match="100000"):
        SubwordNMTTokenizer(folder).decode([100_000])


@pytest.mark.parametrize("name", ["source.bpe", "vocab.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(TokenizerError, match=name):
        SubwordNMTTokenizer(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("source.bpe", "x"),
        ("target.bpe", "a b c"),
        ("source.bpe.vocab", "x"),
        ("target.bpe.vocab", "x y"),
        ("vocab.json", "{"),
        ("vocab.json", '{"</s>": 0, "<unk>": 1}'),
        ("target_vocab.json", '{"a": "0"}'),
        ("tokenizer_config.json", '{"pad_token": 3}'),
        ("tokenizer_config.json", '{"vocabulary_threshold": "3"}'),
        ("tokenizer_config.json", '{"vocabulary_threshold": null}'),
    ],
)
def test_a_corrupt_file_is_named(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(TokenizerError, match=name):
        SubwordNMTTokenizer(folder)
