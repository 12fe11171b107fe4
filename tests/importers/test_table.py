"""A format costs its importer, its tokenizer and their rows: shown by a toy that commands open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keras_int8nmt import Translator, load_folder
from keras_int8nmt.cli import main
from keras_int8nmt.importers import table
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.storage.model_folder import open_model
from keras_int8nmt.tokenizers import kinds

LETTERS = "abcdefgh "
SENTENCES = ["abba", "bad cab", "head", "a"]

FORMAT = table.Format(
    name="toy",
    mark="toy.npz",
    recognises=table.has_file("toy.npz"),
    load=("toy_importer", "load_toy"),
    tokenizer=("toy_tokenizer", "ToyTokenizer"),
)
KIND = kinds.TokenizerKind("toy_letters.txt", ("toy_letters.txt",), "toy_tokenizer", "ToyTokenizer")


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A folder in the toy format, which the tables know."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "toy")
    monkeypatch.setattr(table, "FORMATS", [*table.FORMATS, FORMAT])
    monkeypatch.setattr(kinds, "KINDS", [*kinds.KINDS, KIND])
    from toy_importer import save_toy

    folder = tmp_path / "toy"
    folder.mkdir()
    save_toy(folder, 0, LETTERS)
    (folder / "toy_letters.txt").write_text(LETTERS)
    return folder


def run(*arguments):
    assert main([str(a) for a in arguments]) == 0


def test_commands_open_a_format_that_has_a_row(toy, tmp_path):
    data = tmp_path / "data.txt"
    data.write_text("".join(line + "\n" for line in SENTENCES))
    search = ("--max-length", "8", "--beam-size", "2")
    run("translate", toy, data, "-o", tmp_path / "float.txt", *search)
    run("calibrate", toy, "--data", data, "-o", tmp_path / "calibrated")
    run("convert", tmp_path / "calibrated", "-o", tmp_path / "int8")
    run("translate", tmp_path / "int8", data, "-o", tmp_path / "int8.txt", *search)

    model, tokenizer, card = open_model(toy, quant=False)
    assert card == {}
    with Translator(model, tokenizer, beam_size=2, max_length=8) as translator:
        expected = translator(SENTENCES)
    assert (tmp_path / "float.txt").read_text().split("\n")[:-1] == expected
    assert len(set(expected)) > 1
    # Its tokenizer is saved with the models that come out of it.
    saved = json.loads((tmp_path / "int8" / "model_card.json").read_text())
    assert sorted(saved["files"]) == ["model.keras", "toy_letters.txt"]
    int8, tokenizer, _ = load_folder(tmp_path / "int8")
    with Translator(int8, tokenizer, beam_size=2, max_length=8) as translator:
        assert (tmp_path / "int8.txt").read_text().split("\n")[:-1] == translator(SENTENCES)


def test_an_importer_that_refuses_is_one_line_on_the_command_line(toy, tmp_path, capfd):
    import numpy as np

    np.savez(toy / "toy.npz", vocabulary_size=11)
    capfd.readouterr()
    assert main(["calibrate", str(toy), "--data", __file__, "-o", str(tmp_path / "out")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "toy.npz has no tensor" in err


def test_a_folder_that_no_format_recognises_is_told_the_marks_of_all(toy, tmp_path):
    with pytest.raises(
        ModelFolderError,
        match=r"neither model_card\.json \(of keras-int8nmt\) nor config\.json "
        r"\(of a Marian model\) nor toy\.npz \(of a toy model\)",
    ):
        open_model(tmp_path)


def test_what_a_format_needs_is_named_before_it_is_imported(toy, monkeypatch):
    needy = FORMAT._replace(packages=("json", "no_such_package"), extra="toy")
    monkeypatch.setattr(table, "FORMATS", [needy])
    with pytest.raises(
        ImportError,
        match=r"A toy model needs no_such_package, .*: pip install \"keras-int8nmt\[toy\]\"",
    ):
        open_model(toy)


def test_the_first_row_that_recognises_a_folder_has_it(toy, monkeypatch):
    (toy / "config.json").write_text("{}")
    assert table.format_of(toy).name == "Marian"
    monkeypatch.setattr(table, "FORMATS", table.FORMATS[::-1])
    assert table.format_of(toy) is FORMAT


def test_kinds_of_tokenizers_are_told_apart_by_their_marks():
    marks = [kind.mark for kind in kinds.KINDS]
    for kind in kinds.KINDS:
        assert kind.mark in kind.files
        assert not set(kind.files) & (set(marks) - {kind.mark})
