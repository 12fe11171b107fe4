"""`SentencePieceTokenizer` against SentencePiece itself, and its special ids."""

from __future__ import annotations

import json

import pytest
import sentencepiece
from helpers.tokenizers import ODD_TEXTS, OUR_IDS, SENTENCES, sentencepiece_model

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.kinds import load_tokenizer
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer


def processor(kind="unigram", **ids):
    return sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(kind, **ids))


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_ids_and_texts_are_those_of_the_model_and_the_end_once(kind):
    theirs = processor(kind, **OUR_IDS)
    tokenizer = SentencePieceTokenizer(sentencepiece_model(kind, **OUR_IDS))
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 1, 2)
    for text in [*SENTENCES, "a cat \u4f60", ""]:
        ids = theirs.encode(text)
        assert tokenizer.encode(text) == tokenizer.encode_target(text) == [*ids, 1]
        assert tokenizer.decode([*ids, 1, 0]) == theirs.decode(ids).strip()
    assert set(tokenizer.source_ids) == set(range(theirs.get_piece_size()))


def test_options_of_a_live_processor_are_not_taken_over():
    live = sentencepiece.SentencePieceProcessor(
        model_proto=sentencepiece_model(**OUR_IDS), add_bos=True, add_eos=True, out_type=str
    )
    plain = SentencePieceTokenizer(sentencepiece_model(**OUR_IDS))
    assert SentencePieceTokenizer(live).encode("the cat") == plain.encode("the cat")


def test_a_begin_token_where_it_is_asked_for():
    tokenizer = SentencePieceTokenizer(processor(**OUR_IDS), add_bos=True)
    ids = tokenizer.encode("the cat")
    assert ids[0] == 3
    assert tokenizer.encode_target("the cat") == ids[1:]
    assert tokenizer.decode(ids) == "the cat"
    with pytest.raises(TokenizerError, match="no begin token"):
        SentencePieceTokenizer(processor(pad_id=0, eos_id=1, unk_id=2, bos_id=-1), add_bos=True)


def test_a_model_without_an_id_is_told_and_what_to_give():
    with pytest.raises(TokenizerError, match=r"no pad_id.*SentencePieceTokenizer\(\.\.\., pad_id="):
        SentencePieceTokenizer(processor())
    with pytest.raises(TokenizerError, match="no eos_id"):
        SentencePieceTokenizer(processor(eos_id=-1), pad_id=0)
    with pytest.raises(TokenizerError, match="same id 2"):
        SentencePieceTokenizer(processor(), pad_id=2)
    for wrong in (-1, 1.0, True, "0", 1 << 31):
        with pytest.raises(ValueError, match="`pad_id` must be an id"):
            SentencePieceTokenizer(processor(), pad_id=wrong)


def test_padding_may_be_an_id_beyond_the_pieces(tmp_path):
    size = processor().get_piece_size()
    tokenizer = SentencePieceTokenizer(processor(), pad_id=size)
    assert set(tokenizer.source_ids) == set(tokenizer.target_ids) == set(range(size + 1))
    ids = tokenizer.encode("the cat")
    assert ids[-1] == 2
    assert tokenizer.decode([*ids, size, size]) == "the cat"
    with pytest.raises(ValueError, match=f"Token id {size + 1} is not"):
        tokenizer.decode([size + 1])
    tokenizer.save(tmp_path)
    assert SentencePieceTokenizer.load(tmp_path).pad_id == size


def test_two_models(tmp_path):
    source, target = (sentencepiece_model(kind, **OUR_IDS) for kind in ("unigram", "bpe"))
    tokenizer = SentencePieceTokenizer(source, target)
    assert tokenizer.encode("cats") == SentencePieceTokenizer(source).encode("cats")
    assert tokenizer.encode_target("cats") == SentencePieceTokenizer(target).encode("cats")
    assert tokenizer.decode(tokenizer.encode_target("the cat")) == "the cat"
    tokenizer.save(tmp_path)
    names = [path.name for path in tmp_path.iterdir()]
    assert sorted(names) == ["sentencepiece.json", "source.model", "target.model"]
    again = load_tokenizer(tmp_path, names)
    assert type(again) is SentencePieceTokenizer
    assert again.encode("cats") == tokenizer.encode("cats")
    assert again.encode_target("cats") == tokenizer.encode_target("cats")
    with pytest.raises(TokenizerError, match=r"the id 1 in .* and 2 in"):
        SentencePieceTokenizer(source, sentencepiece_model())


def test_a_user_defined_end_is_never_made_by_a_text():
    model = sentencepiece_model(eos_id=-1, user_defined_symbols="<end>,<fill>")
    live = sentencepiece.SentencePieceProcessor(model_proto=model)
    end, fill = map(live.piece_to_id, ("<end>", "<fill>"))
    assert end in live.encode("the <end> cat")
    tokenizer = SentencePieceTokenizer(live, eos_id=end, pad_id=fill)
    ids = tokenizer.encode("the <end> cat <fill>")
    assert ids.count(end) == 1
    assert ids[-1] == end
    assert fill not in ids


def test_a_folder_with_a_model_alone_opens(tmp_path):
    (tmp_path / "source.model").write_bytes(sentencepiece_model(**OUR_IDS))
    tokenizer = SentencePieceTokenizer.load(tmp_path)
    assert tokenizer.encode("the cat") == SentencePieceTokenizer(tmp_path / "source.model").encode(
        "the cat"
    )


@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: ascii(text)[:20])
def test_odd_text_has_ids_and_ends_once(text):
    tokenizer = SentencePieceTokenizer(sentencepiece_model(**OUR_IDS))
    ids = tokenizer.encode(text)
    assert not {0, 1} & set(ids[:-1])
    assert ids[-1] == 1
    assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("source.model", b""),
        ("source.model", b"no model"),
        ("target.model", b"\xff\xfe"),
        ("sentencepiece.json", b"{"),
        ("sentencepiece.json", b"[]"),
        *(
            ("sentencepiece.json", json.dumps(settings).encode())
            for settings in (
                {"pad_id": "0"}, {"pad_id": -1}, {"pad_id": True}, {"eos_id": 2**40},
                {"add_bos": 1}, {"other": 1}, {"pad_id": None}, {"pad_id": 10**400},
            )
        ),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, name, content):
    SentencePieceTokenizer(sentencepiece_model(**OUR_IDS)).save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=name):
        SentencePieceTokenizer.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    for make in (SentencePieceTokenizer.load, lambda folder: SentencePieceTokenizer(folder / "x")):
        with pytest.raises(TokenizerError, match=r"source\.model|x"):
            make(tmp_path)
