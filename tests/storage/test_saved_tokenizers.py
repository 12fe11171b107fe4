"""Each kind of tokenizer goes with its model: opened with Keras, without, on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import pytest
import sentencepiece
from helpers.models import calibrate_on_sentences
from helpers.tokenizers import (
    EOS,
    OUR_IDS,
    PAD,
    SENTENCES,
    SIZE,
    OfSentencePiece,
    live_tokenizer,
    sentencepiece_model,
    small_tokenizers,
)

from keras_int8nmt import Translator, build_transformer, convert, load_folder, load_translator
from keras_int8nmt import save_folder as save
from keras_int8nmt.cli import main
from keras_int8nmt.storage.card import read_card, seal_card
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.tokenizers import kinds
from keras_int8nmt.tokenizers.errors import TokenizerError

GREEDY = {"beam_size": 1, "max_length": 8, "no_repeat_ngram_size": 1}
NAMES = [
    "SentencePieceTokenizer",
    "HuggingFaceTokenizer",
    "WordPieceTokenizer",
    "SubwordNMTTokenizer",
]
MODULE = """
from pathlib import Path

from keras_int8nmt import register_tokenizer


@register_tokenizer("letters", files=["letters.txt"])
class Letters:
    pad_id, eos_id = 0, 1

    def __init__(self, folder=None, letters="abcdefghijklmnopqrstuvwxyz"):
        self.letters = letters if folder is None else (folder / "letters.txt").read_text()

    def save(self, folder):
        (folder / "letters.txt").write_text(self.letters)

    def encode(self, text):
        return [2 + self.letters.index(c) for c in text if c in self.letters] + [1]

    def decode(self, ids):
        return "".join(self.letters[(i - 2) % 26] for i in ids if i > 1)
"""


@pytest.fixture(autouse=True)
def kinds_as_before(monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", list(kinds.KINDS))


@pytest.fixture
def letters(tmp_path, monkeypatch):
    """A module of a user's with a tokenizer, imported."""
    (tmp_path / "users_letters.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "users_letters", raising=False)
    import users_letters

    yield users_letters
    sys.modules.pop("users_letters", None)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = build_transformer(
        source_vocabulary_size=SIZE,
        num_encoder_layers=1,
        num_decoder_layers=1,
        model_dim=16,
        num_heads=2,
        ffn_dim=16,
        max_length=40,
        pad_id=PAD,
        eos_id=EOS,
        start_id=PAD,
    )
    live = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(**OUR_IDS))
    # An object of another library is taken as it is.
    calibrate_on_sentences(model, live, SENTENCES, mode="naive")
    return convert(model)


def run(*words):
    return main([str(word) for word in words])


def translated(folder, tmp_path, *before):
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(line + "\n" for line in SENTENCES))
    search = ("--beam-size", "1", "--max-length", "8", "--no-repeat-ngram-size", "1")
    options = (*search, "--force", "-o", target)
    assert run(*before, "translate", folder, source, *options) == 0
    return target.read_text().split("\n")[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_goes_with_its_model_everywhere(name, model, tmp_path):
    tokenizer = small_tokenizers(tmp_path)[name]
    with Translator(model, tokenizer, **GREEDY) as translator:
        expected = translator(SENTENCES)
    assert len(set(expected)) > 1
    save(model, tmp_path / "m", tokenizer)
    assert read_card(tmp_path / "m")["tokenizer"] == name
    loaded, again, card = load_folder(tmp_path / "m")
    assert type(again) is type(tokenizer)
    with Translator(loaded, again, **GREEDY) as translator:
        assert translator(SENTENCES) == expected
    with load_translator(tmp_path / "m", **GREEDY) as translator:
        assert type(translator.tokenizer) is type(tokenizer)
        assert translator(SENTENCES) == expected
    assert translated(tmp_path / "m", tmp_path) == expected
    assert not any(Path(each).suffix == ".py" for each in card["files"])


@pytest.mark.parametrize(
    ("live", "name"),
    [
        (sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(**OUR_IDS)), 0),
        (live_tokenizer(), 1),
        (OfSentencePiece(sentencepiece_model(**OUR_IDS)), 0),
    ],
    ids=["SentencePieceProcessor", "tokenizers.Tokenizer", "a layer of KerasHub"],
)
def test_a_live_object_is_saved_as_its_kind(live, name, model, tmp_path):
    with Translator(model, live, **GREEDY) as translator:
        expected = translator(SENTENCES)
    save(model, tmp_path / "m", live, keras=False)
    with load_translator(tmp_path / "m", **GREEDY) as translator:
        assert type(translator.tokenizer).__name__ == NAMES[name]
        assert translator(SENTENCES) == expected


def test_a_class_of_a_user_goes_with_its_model_where_it_is_registered(
    letters, model, tmp_path, monkeypatch, capsys
):
    save(model, tmp_path / "m", letters.Letters())
    with load_translator(tmp_path / "m", **GREEDY) as translator:
        assert type(translator.tokenizer) is letters.Letters
        expected = translator(SENTENCES)
    assert type(load_folder(tmp_path / "m")[1]) is letters.Letters
    # In a process that has not imported it.
    monkeypatch.setattr(kinds, "KINDS", [each for each in kinds.KINDS if not each.registered])
    for load in (load_folder, load_translator):
        with pytest.raises(TokenizerError, match=r"of the kind 'letters'.*import the module"):
            load(tmp_path / "m")
    assert run("translate", tmp_path / "m", __file__) == 2
    assert "--import MODULE" in capsys.readouterr().err
    assert run("info", tmp_path / "m") == 0
    assert "tokenizer: letters" in capsys.readouterr().out
    sys.modules.pop("users_letters")
    monkeypatch.chdir(tmp_path)
    assert translated(tmp_path / "m", tmp_path, "--import", "users_letters") == expected
    capsys.readouterr()
    assert run("--import", "no_such_module", "info", tmp_path / "m") == 2
    assert "no_such_module" in capsys.readouterr().err


def test_one_that_could_not_be_loaded_again_is_not_saved(model, tmp_path, letters):
    class Plain(letters.Letters):
        save = None

    kinds.KINDS[:] = [each for each in kinds.KINDS if not each.registered]
    with pytest.raises(ModelFolderError, match=r"A Letters can't be saved.*register_tokenizer"):
        save(model, tmp_path / "m", letters.Letters())
    with pytest.raises(TypeError, match="A str is no tokenizer"):
        save(model, tmp_path / "m", "letters.txt")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("wrote", ["nothing", "model.keras", "other.txt", "letters.txt/x"])
def test_files_that_are_not_a_tokenizers_own_are_refused(wrote, model, tmp_path, letters):
    class Careless(letters.Letters):
        def save(self, folder):
            if wrote != "nothing":
                (folder / "letters.txt").write_text("abc")
                (folder / wrote.partition("/")[0]).unlink(missing_ok=True)
                (folder / wrote).parent.mkdir(exist_ok=True)
                (folder / wrote).write_text("x")

    kinds.register_tokenizer("careless", files=["letters.txt", "model.keras"])(Careless)
    with pytest.raises(ModelFolderError, match="Careless"):
        save(model, tmp_path / "m", Careless(), keras=False)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "model_card.json", "a\\b", ""])
def test_a_card_of_an_unknown_kind_lists_no_files_elsewhere(name, model, tmp_path):
    save(model, tmp_path / "m", keras=False)
    card = read_card(tmp_path / "m")
    card["tokenizer"] = "unknown"
    card["files"][name] = {"bytes": 1, "sha256": "0"}
    seal_card(tmp_path / "m", card)
    with pytest.raises(ModelFolderError, match="may list"):
        read_card(tmp_path / "m")


@pytest.mark.parametrize("value", [1, [], {}, True])
def test_a_card_that_names_no_kind_is_refused(value, model, tmp_path):
    save(model, tmp_path / "m", keras=False)
    seal_card(tmp_path / "m", {**read_card(tmp_path / "m"), "tokenizer": value})
    with pytest.raises(ModelFolderError, match=r'"tokenizer" of .* must be text'):
        read_card(tmp_path / "m")
