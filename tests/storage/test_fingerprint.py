"""What tells one model folder from another."""

from __future__ import annotations

import os

import pytest

from keras_int8nmt.storage.card import fingerprint

SIZE = 5 << 20


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(SIZE)
    return tmp_path


@pytest.mark.parametrize("at", [0, 1 << 20, SIZE // 2, SIZE - 1])
def test_a_changed_byte_anywhere_makes_another_model(folder, at):
    before = fingerprint(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(at)
        file.write(b"x")
    assert fingerprint(folder) != before


def test_names_and_sizes_count_and_the_place_does_not(folder, tmp_path_factory):
    before = fingerprint(folder)
    moved = tmp_path_factory.mktemp("moved") / "model"
    os.rename(folder, moved)
    assert fingerprint(moved) == before
    os.truncate(moved / "model.safetensors", SIZE + 1)
    longer = fingerprint(moved)
    os.rename(moved / "config.json", moved / "config.yml")
    assert len({before, longer, fingerprint(moved)}) == 3


def test_what_is_no_regular_file_is_not_waited_for(folder):
    before = fingerprint(folder)
    os.mkfifo(folder / "fifo")
    (folder / "zeros").symlink_to("/dev/zero")
    assert fingerprint(folder) == before
