"""`MarianTokenizer` against ids and texts of `transformers`, and what it says of spoiled files."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import sentencepiece

from keras_int8nmt.tokenizers.marian import MarianTokenizer, TokenizerError


def lines(path):
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


@pytest.fixture(scope="module")
def trained(shared_data):
    folder = shared_data / "models" / "marian-tiny-en-de"
    return MarianTokenizer(folder), folder / "reference"


@pytest.mark.parametrize("name", ["greedy", "beam4"])
def test_decoded_text_is_that_of_transformers(trained, name):
    tokenizer, reference = trained
    ids = [[int(i) for i in line.split()] for line in lines(reference / f"{name}.ids")]
    assert [tokenizer.decode(row) for row in ids] == lines(reference / f"{name}.de")
    assert len(ids) == 2000


def test_encoded_ids_are_those_of_transformers(trained, shared_data):
    tokenizer, reference = trained
    with np.load(reference / "logits.npz") as arrays:
        expected = [
            row[mask.astype(bool)].tolist()
            for row, mask in zip(arrays["input_ids"], arrays["attention_mask"], strict=True)
        ]
    texts = lines(shared_data / "tatoeba-ende" / "test.en")[: len(expected)]
    assert [tokenizer.encode(text) for text in texts] == expected


def test_encoding_then_decoding_gives_the_text(trained, shared_data):
    tokenizer, _ = trained
    texts = lines(shared_data / "tatoeba-ende" / "valid.en")[:200]
    for text in texts:
        ids = tokenizer.encode(text)
        if tokenizer.unk_id not in ids:
            assert tokenizer.decode(ids) == " ".join(text.split())


# ---- a small folder made here ----


@pytest.fixture(scope="module")
def model_bytes():
    sentences = ["the cat sat on the mat", "a dog ran to the house", "cats and dogs can run"] * 5
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=30,
        model_type="unigram",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture
def folder(tmp_path, model_bytes):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    pieces = [p for p in pieces if p not in ("<s>", "</s>", "<unk>")]
    pieces = ["</s>", "<unk>", *pieces, ">>deu<<", "<pad>"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    for name in ("source.spm", "target.spm"):
        (tmp_path / name).write_bytes(model_bytes)
    return tmp_path


def test_special_tokens(folder):
    tokenizer = MarianTokenizer(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert (tokenizer.eos_id, tokenizer.unk_id) == (0, 1)
    assert tokenizer.pad_id == vocabulary["<pad>"]
    assert tokenizer.encode("") == [0]
    assert tokenizer.decode([]) == ""


def test_unknown_characters_become_one_unknown_token_each_run(folder):
    tokenizer = MarianTokenizer(folder)
    ids = tokenizer.encode("cat \u4f60\u597d cat")
    assert tokenizer.unk_id in ids
    assert ids[-1] == tokenizer.eos_id
    assert tokenizer.decode(ids).split() == ["cat", "cat"]


def test_special_tokens_in_a_text_are_plain_text(folder):
    tokenizer = MarianTokenizer(folder)
    for text in ("the </s> cat", "<pad>", "</s>"):
        ids = tokenizer.encode(text)[:-1]
        assert tokenizer.eos_id not in ids
        assert tokenizer.pad_id not in ids


def test_half_a_surrogate_pair_is_accepted(folder):
    assert MarianTokenizer(folder).encode("cat \ud83d")[-1] == 0


def test_a_language_code_is_one_token_where_the_vocabulary_has_it(folder):
    tokenizer = MarianTokenizer(folder)
    code = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))[">>deu<<"]
    assert tokenizer.encode(">>deu<< the cat") == [code, *tokenizer.encode("the cat")]
    assert code not in tokenizer.encode("the >>deu<< cat")
    assert tokenizer.encode(" >>deu<< the cat") == tokenizer.encode(">>deu<< the cat")
    assert tokenizer.language_codes == [">>deu<<"]


def test_a_language_code_that_others_are_known_of_is_unknown_and_told(folder):
    tokenizer = MarianTokenizer(folder)
    assert tokenizer.encode(" >>xyz<< the cat") == [1, *tokenizer.encode("the cat")]
    assert tokenizer.remark(" >>xyz<< the cat") == (
        "begins with >>xyz<<, which the model does not have; it has >>deu<<"
    )
    for text in (">>deu<< the cat", "the >>xyz<< cat", "the cat", ">><<", ""):
        assert tokenizer.remark(text) is None


def test_without_language_codes_one_is_text(folder):
    change_json(folder / "vocab.json", lambda ids: ids.pop(">>deu<<"))
    tokenizer = MarianTokenizer(folder)
    assert tokenizer.remark(">>deu<< the cat") is None
    assert len(tokenizer.encode(">>deu<< the cat")) > len(tokenizer.encode("the cat")) + 1


def change_json(path, change):
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def add_by_file(folder, tokens):
    (folder / "added_tokens.json").write_text(json.dumps(tokens))


def add_by_config(folder, tokens):
    told = {str(i): {"content": token, "lstrip": False} for token, i in tokens.items()}
    told["0"] = {"content": "</s>", "special": True}
    change_json(
        folder / "tokenizer_config.json", lambda config: config.update(added_tokens_decoder=told)
    )


@pytest.mark.parametrize("add", [add_by_file, add_by_config])
def test_added_tokens_are_taken_out_of_a_text_and_put_back(folder, add, tmp_path):
    size = len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    plain = MarianTokenizer(folder)
    add(folder, {"<ph1>": size, "<ph1>x": size + 1})
    (tmp_path / "copy").mkdir()
    MarianTokenizer(folder).save(tmp_path / "copy")
    tokenizer = MarianTokenizer(tmp_path / "copy")
    cat, dog = (plain.encode(word)[:-1] for word in ("the cat", "a dog"))
    ids = tokenizer.encode("the cat <ph1> a dog<ph1>x")
    assert ids == [*cat, size, *dog, size + 1, 0]
    assert tokenizer.encode_target("the cat <ph1> a dog<ph1>x") == ids
    assert tokenizer.decode(ids) == "the cat <ph1> a dog <ph1>x"
    assert {size, size + 1} < set(tokenizer.source_ids)
    assert {size, size + 1} < set(tokenizer.target_ids)
    with pytest.raises(ValueError, match="not in the target vocabulary"):
        tokenizer.decode([size + 2])


def test_a_special_token_that_was_added_is_not_shown(folder):
    size = len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    told = {str(size): {"content": "<2de>", "special": True}}
    change_json(folder / "tokenizer_config.json", lambda c: c.update(added_tokens_decoder=told))
    tokenizer = MarianTokenizer(folder)
    assert tokenizer.encode("<2de>the cat")[0] == size
    assert tokenizer.decode(tokenizer.encode("<2de>the cat")) == "the cat"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", {"<a>": 2}),
        ("added_tokens.json", {"<pad>": 1000}),
        ("added_tokens.json", {"": 1000}),
        ("added_tokens.json", {"<a>": 1000, "<b>": 1000}),
        ("added_tokens.json", {"<a>": -1}),
        ("added_tokens.json", {"<a>": "1000"}),
        ("added_tokens.json", ["<a>"]),
        ("tokenizer_config.json", {"added_tokens_decoder": ["<a>"]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1000": "<a>"}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "<a>"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"2": {"content": "<a>"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9" * 5000: {"content": "<a>"}}}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_added_tokens_that_can_not_be_are_named_by_their_file(folder, name, content):
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match=name):
        MarianTokenizer(folder)


def test_special_tokens_may_have_other_names(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocabulary["[PAD]"] = vocabulary.pop("<pad>")
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    config = {"pad_token": {"content": "[PAD]"}, "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert MarianTokenizer(folder).pad_id == vocabulary["[PAD]"]


def test_a_target_vocabulary_of_its_own(folder):
    tokenizer = MarianTokenizer(folder)
    ids = tokenizer.encode("the cat")
    source = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    shifted = {piece: (i + 1) % len(source) for piece, i in source.items()}
    (folder / "target_vocab.json").write_text(json.dumps(shifted), encoding="utf-8")
    other = MarianTokenizer(folder)
    assert other.encode("the cat") == ids
    assert other.decode([i + 1 for i in ids]) == "the cat"


def test_a_saved_copy_is_the_same_tokenizer(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    tokenizer = MarianTokenizer(folder)
    tokenizer.save(copy)
    assert MarianTokenizer(copy).files == tokenizer.files


@pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(TokenizerError, match=name):
        MarianTokenizer(folder)


@pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
@pytest.mark.parametrize("content", [b"", b"not this", b"\xff\xfe\x00"])
def test_a_corrupt_file_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=name):
        MarianTokenizer(folder)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "JSON object"),
        ({"</s>": 0, "<unk>": 1}, "<pad>"),
        ({"</s>": "0", "<unk>": 1, "<pad>": 2}, "</s>"),
        ({"</s>": 0, "<unk>": 1, "<pad>": 1}, "one id"),
        ({"</s>": 0, "<unk>": -1, "<pad>": 1}, "<unk>"),
    ],
)
def test_a_wrong_vocabulary_is_refused(folder, vocabulary, message):
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    with pytest.raises(TokenizerError, match=message):
        MarianTokenizer(folder)


def test_an_id_outside_the_vocabulary_is_refused(folder):
    with pytest.raises(ValueError, match="1000"):
        MarianTokenizer(folder).decode([1000])


def test_targets_are_encoded_by_the_target_side_and_decode_to_themselves(shared_data):
    folder = shared_data / "models" / "marian-tiny-en-de"
    tokenizer = MarianTokenizer(folder)
    text = "Das ist ein Haus."
    ids = tokenizer.encode_target(text)
    assert ids[-1] == tokenizer.eos_id
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    "text", [">>deu<<", ">>xyz<<", " ", ">>deu<<\u200b", ">>deu<< >>xyz<< \u0301"]
)
def test_a_language_code_is_no_text(folder, text):
    assert not MarianTokenizer(folder).has_text(text)


@pytest.mark.parametrize("text", ["a", ">>deu<< a", ">>xyz<< a", "a >>deu<<", "\u4f60"])
def test_what_can_be_seen_beside_a_language_code_is_text(folder, text):
    assert MarianTokenizer(folder).has_text(text)


def test_it_tells_its_ids(folder):
    tokenizer = MarianTokenizer(folder)
    assert set(tokenizer.source_ids) == set(tokenizer.target_ids)
    assert {tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id} <= set(tokenizer.source_ids)
    assert set(tokenizer.encode("the cat")) <= set(tokenizer.source_ids)
