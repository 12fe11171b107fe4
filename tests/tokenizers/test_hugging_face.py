"""`HuggingFaceTokenizer` against the `tokenizers` package, and what files say of special tokens."""

from __future__ import annotations

import json
import sys

import pytest
from helpers.tokenizers import ODD_TEXTS, SENTENCES, live_tokenizer

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.hugging_face import HuggingFaceTokenizer
from keras_int8nmt.tokenizers.kinds import load_tokenizer

tokenizers = pytest.importorskip("tokenizers")


def copy():
    return tokenizers.Tokenizer.from_str(live_tokenizer().to_str())


def words(*special, vocabulary=("a", "b")):
    """A tokenizer of whole words, with special tokens before them."""
    ids = {word: i for i, word in enumerate([*special, *vocabulary])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="a"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(list(special))
    return made


@pytest.fixture
def file(tmp_path):
    (tmp_path / "tokenizer.json").write_text(live_tokenizer().to_str(), encoding="utf-8")
    return tmp_path / "tokenizer.json"


def test_ids_and_texts_are_those_of_the_package(file):
    theirs = live_tokenizer()
    for source in (file, str(file), file.parent, theirs):
        tokenizer = HuggingFaceTokenizer(source)
        assert (tokenizer.pad_id, tokenizer.eos_id) == (0, 1)
        for text in [*SENTENCES, "a cat \u4f60 <2de>", ""]:
            ids = theirs.encode(text).ids
            assert ids[0] == 3
            assert ids[-1] == 1
            assert tokenizer.encode(text) == ids
            assert tokenizer.encode_target(text) == ids[1:]
            assert tokenizer.decode([*ids, 0]) == theirs.decode(ids).strip()
    assert set(tokenizer.source_ids) == set(theirs.get_vocab().values())


def test_the_end_is_there_once_whatever_the_post_processor_does():
    once = copy()
    once.post_processor = None
    twice = copy()
    twice.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s> </s>", special_tokens=[("</s>", 1)]
    )
    expected = HuggingFaceTokenizer(live_tokenizer()).encode_target("the cat")
    for live in (once, twice):
        assert HuggingFaceTokenizer(live).encode("the cat") == expected


def test_padding_and_truncation_of_the_file_are_the_models_business():
    live = copy()
    live.enable_truncation(3)
    live.enable_padding(length=30, pad_id=0, pad_token="<pad>")
    plain = HuggingFaceTokenizer(live_tokenizer())
    assert HuggingFaceTokenizer(live).encode(SENTENCES[0]) == plain.encode(SENTENCES[0])
    # The object that was given is as it was.
    assert len(live.encode(SENTENCES[0]).ids) == 30


def test_an_end_written_in_a_text_is_text():
    tokenizer = HuggingFaceTokenizer(live_tokenizer())
    assert 1 in live_tokenizer().encode("the </s> cat").ids[:-1]
    ids = tokenizer.encode("the </s> cat <pad> </s>")
    assert not {0, 1} & set(ids[:-1])
    # Others, such as those of languages, are meant.
    assert 4 in tokenizer.encode("<2de> the cat")
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "END": 1, "PAD": 2}, "a"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = HuggingFaceTokenizer(plain, eos_token="END", pad_token="PAD")
    assert tokenizer.encode("a END a PAD") == [0, 0, 1]


def test_special_tokens_alone_are_no_text():
    tokenizer = HuggingFaceTokenizer(live_tokenizer())
    assert not tokenizer.has_text(" <2de>")
    assert not tokenizer.has_text("\u200b")
    assert tokenizer.has_text("<2de> a")
    assert tokenizer.has_text("</s>")


def test_the_files_beside_it_say_what_is_what(file):
    def ids(**beside):
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            (file.parent / name).unlink(missing_ok=True)
        for name, settings in beside.items():
            (file.parent / f"{name}.json").write_text(json.dumps(settings))
        tokenizer = HuggingFaceTokenizer(file)
        return tokenizer.pad_id, tokenizer.eos_id

    assert ids(tokenizer_config={"pad_token": "<s>"}) == (3, 1)
    assert ids(tokenizer_config={"pad_token": {"content": "<s>", "lstrip": False}}) == (3, 1)
    assert ids(special_tokens_map={"eos_token": "<2de>"}) == (0, 4)
    assert ids(tokenizer_config={"eos_token": "<s>"}, special_tokens_map={"eos_token": "a"}) == (
        0,
        3,
    )
    assert ids(tokenizer_config={"eos_token": None, "pad_token_id": 4}) == (4, 1)


def test_what_is_not_told_is_padding_of_the_file_a_usual_name_or_what_is_given():
    padding = words("[MASK]", "</s>")
    padding.enable_padding(pad_id=0, pad_token="[MASK]")
    assert HuggingFaceTokenizer(padding).pad_id == 0
    bert = HuggingFaceTokenizer(words("[PAD]", "[UNK]", "[CLS]", "[SEP]"))
    assert (bert.pad_id, bert.eos_id) == (0, 3)
    bare = words("</s>")
    with pytest.raises(TokenizerError, match=r"its pad token, and none .* pad_token="):
        HuggingFaceTokenizer(bare)
    beyond = HuggingFaceTokenizer(bare, pad_id=9)
    assert beyond.pad_id == 9
    assert 9 in beyond.source_ids
    assert beyond.decode([1, 9, 0]) == "a"
    with pytest.raises(TokenizerError, match=r"its eos token, and it has </s> and \[SEP\]"):
        HuggingFaceTokenizer(words("</s>", "[SEP]", "<pad>"))
    chosen = HuggingFaceTokenizer(words("</s>", "[SEP]", "<pad>"), eos_token="[SEP]")
    assert chosen.eos_id == 1
    with pytest.raises(TokenizerError, match=r"has no token '<e>', which is eos_token by `eos_to"):
        HuggingFaceTokenizer(bare, pad_id=9, eos_token="<e>")
    with pytest.raises(TokenizerError, match="same id 0"):
        HuggingFaceTokenizer(bare, pad_token="</s>")


def test_a_saved_copy_is_the_same_tokenizer(tmp_path):
    tokenizer = HuggingFaceTokenizer(words("</s>"), pad_id=7)
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path, [path.name for path in tmp_path.iterdir()])
    assert type(again) is HuggingFaceTokenizer
    assert (again.pad_id, again.eos_id) == (7, 0)
    assert again.encode("b a") == tokenizer.encode("b a") == [2, 1, 0]


def test_an_id_outside_the_vocabulary_is_refused():
    for wrong in (1000, -1):
        with pytest.raises(ValueError, match=f"Token id {wrong} is not"):
            HuggingFaceTokenizer(live_tokenizer()).decode([wrong])


@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: ascii(text)[:20])
def test_odd_text_has_ids_and_ends_once(text):
    tokenizer = HuggingFaceTokenizer(live_tokenizer())
    ids = tokenizer.encode(text)
    assert not {0, 1} & set(ids[:-1])
    assert ids[-1] == 1
    assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", ""),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[" * 10_000),
        ("tokenizer_config.json", "["),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"pad_token": 3}'),
        ("tokenizer_config.json", '{"pad_token": "<nowhere>"}'),
        ("tokenizer_config.json", '{"pad_token": "\\ud800"}'),
        ("tokenizer_config.json", '{"eos_token_id": "1"}'),
        ("tokenizer_config.json", '{"eos_token_id": -1}'),
        ("special_tokens_map.json", '{"pad_token": [1]}'),
    ],
)
def test_a_damaged_file_is_named(file, name, content):
    (file.parent / name).write_text(content)
    with pytest.raises(TokenizerError, match=name):
        HuggingFaceTokenizer(file.parent)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        HuggingFaceTokenizer(tmp_path)


def test_a_post_processor_without_its_token_is_named(file):
    """Which makes the package panic when a text is encoded, and not when the file is read."""
    content = json.loads(file.read_bytes())
    begin = content["post_processor"]["special_tokens"].pop("<s>")
    file.write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json' is no .* that can be run"):
        HuggingFaceTokenizer(file)
    begin["ids"] = [1000]
    content["post_processor"]["special_tokens"]["<s>"] = begin
    file.write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json' adds the token id 1000, which"):
        HuggingFaceTokenizer(file)


def test_one_with_parts_in_python_is_told_apart():
    class Nothing:
        def pre_tokenize(self, text):
            pass

    live = copy()
    live.pre_tokenizer = tokenizers.pre_tokenizers.PreTokenizer.custom(Nothing())
    with pytest.raises(TokenizerError, match="can't be copied: Custom PreTokenizer"):
        HuggingFaceTokenizer(live)


def test_without_the_package_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r'pip install "keras-int8nmt\[tokenizers\]"'):
        HuggingFaceTokenizer(file)
