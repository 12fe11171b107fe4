"""Learning pieces: the special ids that models take, the same for the same text, and refusals."""

from __future__ import annotations

import gzip
import random
import re

import pytest

from keras_int8nmt import SentencePieceTokenizer, build_transformer, train_sentencepiece
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.storage.builtin import read_pairs
from keras_int8nmt.tokenizers.fit import check_fit
from keras_int8nmt.training import CorpusError
from keras_int8nmt.training.vocabulary import _some

PAIRS = [pair for pairs in read_pairs() for pair in pairs]
ENGLISH, GERMAN = ([pair[side] for pair in PAIRS] for side in (0, 1))


def trained(*texts, **options):
    options = {"vocabulary_size": 300, "character_coverage": 1.0, **options}
    return train_sentencepiece(*(texts or (ENGLISH, GERMAN)), **options)


def written(tokenizer, folder):
    folder.mkdir()
    tokenizer.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_special_ids_are_those_of_build_transformer(model_type):
    tokenizer = trained(model_type=model_type)
    model = build_transformer(
        source_vocabulary_size=300, num_encoder_layers=1, num_decoder_layers=1,
        model_dim=8, num_heads=2, ffn_dim=8, max_length=8,
    )  # fmt: skip
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 1, 2)
    assert (model.pad_id, model.eos_id, model.start_id) == (0, 1, 0)
    assert max(tokenizer.source_ids) == max(tokenizer.target_ids) == 299
    check_fit(model, tokenizer)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_sentences_come_back_from_their_pieces(model_type):
    tokenizer = trained(model_type=model_type)
    for text in [*ENGLISH[:20], *GERMAN[:20]]:
        ids = tokenizer.encode(text)
        assert ids[-1] == tokenizer.eos_id
        assert tokenizer.unk_id not in ids
        assert tokenizer.decode(ids) == text
    # Pieces and not letters were learned.
    tokens = sum(len(tokenizer.encode(text)) for text in ENGLISH)
    assert tokens < 0.7 * sum(map(len, ENGLISH))


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_equal_sentences_give_an_equal_model(model_type, tmp_path):
    english = tmp_path / "train.en.gz"
    english.write_bytes(gzip.compress("".join(f"{line}\n" for line in ENGLISH).encode()))
    german = tmp_path / "train.de"
    german.write_text("\n".join(GERMAN), encoding="utf-8")
    of_texts = written(trained(model_type=model_type), tmp_path / "texts")
    of_files = written(trained(str(english), german, model_type=model_type), tmp_path / "files")
    assert of_texts == of_files
    assert of_texts != written(trained(ENGLISH, model_type=model_type), tmp_path / "one side")


def test_of_many_sentences_some_are_chosen_by_the_seed():
    texts = [str(i) for i in range(1000)]

    def chosen(seed):
        return _some(iter(texts), 100, random.Random(seed))

    assert chosen(1) == chosen(1) != chosen(2)
    assert len(set(chosen(1))) == 100
    assert _some(iter(texts), 1000, random.Random(1)) == texts
    # Each with the same chance: a quarter of them is of each quarter of the text.
    drawn = [int(text) for seed in range(100) for text in chosen(seed)]
    for first in range(0, 1000, 250):
        assert 2200 < sum(first <= i < first + 250 for i in drawn) < 2800


def test_what_is_learned_from_is_bounded(tmp_path):
    texts = [*ENGLISH, "", "\u200b", "q" * 5000]
    assert written(trained(texts), tmp_path / "a") == written(trained(ENGLISH), tmp_path / "b")
    few = trained(ENGLISH, max_sentences=60, vocabulary_size=100)
    assert written(few, tmp_path / "c") == written(
        trained(ENGLISH, max_sentences=60, vocabulary_size=100), tmp_path / "d"
    )


def test_symbols_are_pieces_and_bytes_take_what_has_none():
    tokenizer = trained(ENGLISH, vocabulary_size=400, symbols=[">>deu<<"], byte_fallback=True)
    ids = tokenizer.encode(">>deu<< Good morning.")
    assert len(tokenizer.encode("Good morning.")) < len(ids) <= len(ENGLISH[0]) + 2
    assert 3 in ids
    assert tokenizer.decode(tokenizer.encode("\u20ac")) == "\u20ac"
    assert tokenizer.unk_id in trained(ENGLISH).encode("\u20ac")


def test_two_of_them_are_a_vocabulary_on_each_side(tmp_path):
    for name, texts, size in (("source", ENGLISH, 200), ("target", GERMAN, 250)):
        written(trained(texts, vocabulary_size=size), tmp_path / name)
    tokenizer = SentencePieceTokenizer(
        tmp_path / "source" / "source.model", tmp_path / "target" / "source.model"
    )
    assert (tokenizer.pad_id, tokenizer.eos_id) == (0, 1)
    assert (max(tokenizer.source_ids), max(tokenizer.target_ids)) == (199, 249)
    text = "Die Bäckerei öffnet vor Sonnenaufgang."
    assert tokenizer.decode(tokenizer.encode_target(text)) == text


# ---- what is refused


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_too_few_sentences_for_the_size_are_told_with_what_would_do(model_type):
    with pytest.raises(CorpusError, match="`vocabulary_size` is 50000") as refused:
        trained(model_type=model_type, vocabulary_size=50000)
    message = str(refused.value)
    assert f"{len(PAIRS) * 2} sentences of text 1 and text 2 give at most" in message
    largest = int(re.findall(r"at most (\d+) pieces", message)[0])
    assert max(trained(model_type=model_type, vocabulary_size=largest).source_ids) == largest - 1
    with pytest.raises(CorpusError, match=f"at most {largest} pieces"):
        trained(model_type=model_type, vocabulary_size=largest + 1)


def test_too_many_characters_for_the_size_are_told_with_what_would_do():
    with pytest.raises(CorpusError, match=r"`vocabulary_size` is 20, .* need at least") as refused:
        trained(vocabulary_size=20)
    least = int(re.findall(r"at least (\d+) pieces", str(refused.value))[0])
    assert "1.0 by now" in str(refused.value)
    assert max(trained(vocabulary_size=least).source_ids) == least - 1


def test_text_without_sentences_is_refused(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(CorpusError, match=r"no sentence to learn pieces of in .*empty\.txt and te"):
        trained(empty, ["", "  "])
    with pytest.raises(CorpusError, match="in no text"):
        train_sentencepiece(vocabulary_size=300)


def test_files_that_can_not_be_read_are_named(tmp_path):
    latin = tmp_path / "latin"
    latin.write_bytes(b"a\n\xfc\n")
    with pytest.raises(TextFileError, match="latin, line 2: not UTF-8"):
        trained(latin)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trained(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="strings; number 1 of text 2 is b'a'"):
        trained(ENGLISH, [b"a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary_size": 3}, "`vocabulary_size` must be at least 4"),
        ({"model_type": "word"}, "`model_type` must be one of unigram, bpe"),
        ({"character_coverage": 1.5}, "`character_coverage` must be from 0.0 to 1.0"),
        ({"max_sentences": 0}, "`max_sentences` must be at least 1"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"symbols": [""]}, "SentencePiece can't be trained"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        trained(**options)
