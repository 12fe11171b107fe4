"""Kinds of tokenizers: which one a folder has, and classes of users."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.letters import LetterTokenizer

from keras_int8nmt.tokenizers import kinds
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.kinds import (
    is_file_name,
    kind_of,
    load_tokenizer,
    register_tokenizer,
    tokenizer_files,
)


@pytest.fixture(autouse=True)
def kinds_as_before(monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", list(kinds.KINDS))


class Letters(LetterTokenizer):
    def __init__(self, folder):
        self.place = (Path(folder) / "letters.txt").read_text()


def test_a_registered_class_is_found_again(tmp_path):
    assert kind_of(Letters.__new__(Letters)) is None
    assert register_tokenizer("letters", files=["letters.txt", "more.txt"])(Letters) is Letters
    assert kind_of(Letters.__new__(Letters)).name == "letters"
    assert {"letters.txt", "more.txt", "source.spm"} <= set(tokenizer_files())
    (tmp_path / "letters.txt").write_text("x")
    for name in ("letters", None):
        made = load_tokenizer(tmp_path, ["letters.txt"], name)
        assert type(made) is Letters
        assert made.place == "x"
    with pytest.raises(TokenizerError, match=r"no file letters\.txt of its tokenizer"):
        load_tokenizer(tmp_path, ["source.spm"], "letters")


def test_a_class_method_may_load():
    @register_tokenizer("numbers", files=["numbers.txt"], load="of_folder")
    class Numbers(LetterTokenizer):
        @classmethod
        def of_folder(cls, folder):
            return cls()

    assert type(load_tokenizer(Path("x"), ["numbers.txt"], "numbers")) is Numbers


def test_of_two_classes_of_a_name_the_later_one_counts():
    first, second = (type(f"Letters{i}", (LetterTokenizer,), {}) for i in range(2))
    register_tokenizer("letters", files=["letters.txt"])(first)
    register_tokenizer("letters", files=["letters.txt"])(second)
    assert kind_of(second()).registered is second
    assert kind_of(first()) is None


def test_a_derived_class_is_of_its_own_kind_where_it_has_one():
    class Capitals(Letters):
        pass

    register_tokenizer("letters", files=["letters.txt"])(Letters)
    assert kind_of(Capitals.__new__(Capitals)).name == "letters"
    register_tokenizer("capitals", files=["letters.txt"])(Capitals)
    assert kind_of(Capitals.__new__(Capitals)).name == "capitals"


def test_a_kind_that_nobody_registered_is_told_what_to_import(tmp_path):
    with pytest.raises(
        TokenizerError, match=r"of the kind 'os\.system'.* import the module.*--import MODULE"
    ):
        load_tokenizer(tmp_path, ["letters.txt"], "os.system")


def test_what_a_class_raises_is_an_error_of_its_folder(tmp_path):
    register_tokenizer("letters", files=["letters.txt"])(Letters)
    with pytest.raises(TokenizerError, match="can't be opened: letters raised FileNotFoundError"):
        load_tokenizer(tmp_path, ["letters.txt"], "letters")


def test_names_that_can_not_be_are_refused():
    for files in ([], "letters.txt", [""], ["a/b"], [".."], ["a\\b"], ["a\0"], [1], ["x" * 300]):
        with pytest.raises(ValueError, match="`files` must be names"):
            register_tokenizer("letters", files=files)
    with pytest.raises(ValueError, match="is a kind of tokenizer of this package"):
        register_tokenizer("MarianTokenizer", files=["x"])
    for name in ("", None):
        with pytest.raises(ValueError, match="`name` must be text"):
            register_tokenizer(name, files=["x"])
    assert is_file_name("x.txt")
