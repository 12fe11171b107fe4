"""The table of foreign formats, and that of the tokenizers that are saved."""

from __future__ import annotations

import pytest

from keras_int8nmt.importers import table
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.storage.model_folder import open_model
from keras_int8nmt.tokenizers import kinds

TOY = table.Format(
    name="toy",
    mark="toy.npz",
    recognises=table.has_file("toy.npz"),
    load=("no_such_importer", "load_toy"),
)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A folder in a format that the table knows."""
    monkeypatch.setattr(table, "FORMATS", [*table.FORMATS, TOY])
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.npz").write_bytes(b"")
    return folder


def test_a_folder_that_no_format_recognises_is_told_the_marks_of_all(toy, tmp_path):
    with pytest.raises(
        ModelFolderError,
        match=r"neither model_card\.json \(of keras-int8nmt\) nor "
        r"metadata\.json \(of Argos Translate\) nor model\.bin \(of CTranslate2\) nor "
        r"config\.json \(of Marian\) nor .*toy\.npz \(of toy\)",
    ):
        open_model(tmp_path)


def test_what_a_format_needs_is_named_before_it_is_imported(toy, monkeypatch):
    needy = TOY._replace(packages=("json", "no_such_package"), extra="toy")
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
    assert table.format_of(toy) is TOY


def test_kinds_of_tokenizers_are_told_apart_by_their_marks():
    marks = [kind.mark for kind in kinds.KINDS]
    for kind in kinds.KINDS:
        assert kind.mark in kind.files
        assert not set(kind.files) & (set(marks) - {kind.mark})
