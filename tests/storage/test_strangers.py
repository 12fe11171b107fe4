"""Files from strangers, on the run side: one error that names the file, at once and in bounds."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

import keras_int8nmt
from keras_int8nmt._untrusted import open_regular, parse_json, read_bytes
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.runtime.model_spec import FORMAT_VERSION, ModelSpec
from keras_int8nmt.runtime.spec_file import SPEC_FILES, read_spec, write_spec
from keras_int8nmt.storage import card as cards
from keras_int8nmt.storage.card import CARD_FILE, check_files, read_card, seal_card, write_card
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.storage.recognition import recognise
from keras_int8nmt.tokenizers.marian import MarianTokenizer, TokenizerError

MARIAN = Path(keras_int8nmt.__file__).parent / "default_model"
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture
def folder(tmp_path):
    """A folder of the run side: a spec, a tokenizer and a card."""
    weights = memoryview(bytearray(12)).cast("b", [4, 3])
    settings = {"format_version": FORMAT_VERSION, "max_length": 7}
    write_spec(ModelSpec(settings, {"weights": weights}, packed=False), tmp_path)
    MarianTokenizer(MARIAN).save(tmp_path)
    write_card(tmp_path, state="converted", precision="int8", conversion_report=None, entries={})
    return tmp_path


def names():
    return [*SPEC_FILES, CARD_FILE, "source.spm", "target.spm", "vocab.json"]


def read_all(folder):
    """All that the run side reads of a folder, whatever the checksums say."""
    read_card(folder)
    read_spec(folder)
    MarianTokenizer(folder)


KINDS = ["fifo", "socket", "folder", "/dev/zero", "/dev/stdin", "/dev/full", "loop", "nowhere"]


def put_special(path, kind):
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        # Its name may be no longer than 107 bytes.
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)
    else:
        path.symlink_to({"loop": path.name, "nowhere": "nowhere"}.get(kind, kind))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", names())
def test_special_files_are_told_by_name_without_waiting(folder, name, kind):
    card = read_card(folder)
    put_special(folder / name, kind)
    started = time.monotonic()
    with pytest.raises(KerasInt8nmtError, match=name.replace(".", r"\.")):
        read_all(folder)
    if name != CARD_FILE:
        with pytest.raises(ModelFolderError, match=name.replace(".", r"\.")):
            check_files(folder, card)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "folder"])
def test_an_optional_file_is_told_too(folder, kind):
    path = folder / "tokenizer_config.json"
    path.touch()
    put_special(path, kind)
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        MarianTokenizer(folder)


@pytest.mark.parametrize("content", [DEEP, b"{" * 5000, b"9" * 5000, b"\xff\xfe{}", b"", b"[1]"])
@pytest.mark.parametrize("name", [CARD_FILE, "spec.json", "vocab.json", "tokenizer_config.json"])
def test_json_that_is_none_or_too_deep_is_told_by_name(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(KerasInt8nmtError, match=name.replace(".", r"\.")):
        read_all(folder)


def test_a_deep_header_of_tensors_is_told(folder):
    path = folder / "spec.safetensors"
    path.write_bytes(len(DEEP).to_bytes(8, "little") + DEEP + bytes(64))
    with pytest.raises(KerasInt8nmtError, match=r"spec\.safetensors.*nested more than 100 deep"):
        read_spec(folder)


@pytest.mark.parametrize("name", [n for n in names() if n != "spec.safetensors"])
def test_files_that_are_too_large_are_not_read(folder, name):
    os.truncate(folder / name, 1 << 40)
    with pytest.raises(KerasInt8nmtError, match=r"1099511627776 bytes"):
        read_all(folder)


def test_the_bound_of_a_whole_file_holds_before_it_is_hashed(folder, monkeypatch):
    monkeypatch.setattr(cards, "MOST_BYTES", 1000)
    with pytest.raises(ModelFolderError, match="at most 1000"):
        read_card(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": "1"}, "lacks the size"),
        ({"bytes": -1}, "lacks the size"),
        ({"bytes": True}, "lacks the size"),
        ({"bytes": 10**30}, "lacks the size"),
        ({"sha256": None}, "lacks the size"),
        (5, "lacks the size"),
    ],
)
def test_a_card_of_wrong_types_is_refused(folder, change, message):
    card = read_card(folder)
    entry = card["files"]["vocab.json"]
    card["files"]["vocab.json"] = {**entry, **change} if isinstance(change, dict) else change
    seal_card(folder, card)
    with pytest.raises(ModelFolderError, match=message):
        read_card(folder)


@pytest.mark.parametrize("entry", [{"state": 1}, {"precision": []}, {"conversion_report": "x"}])
def test_a_card_of_other_entries_is_refused(folder, entry):
    seal_card(folder, {**read_card(folder), **entry})
    with pytest.raises(ModelFolderError, match=next(iter(entry))):
        recognise(folder)


def test_files_without_a_size_are_bounded_by_what_is_read(tmp_path):
    if not sys.platform.startswith("linux"):
        pytest.skip("/proc is of Linux")
    assert read_bytes("/proc/self/status", 1 << 20, ValueError).startswith(b"Name:")
    with pytest.raises(ModelFolderError, match="at most 10 are read"):
        read_bytes("/proc/self/status", 10, ModelFolderError)


def test_what_can_not_be_opened_is_told(tmp_path):
    for path in (tmp_path / "no", tmp_path / "x" / "y", Path("a\0b")):
        with pytest.raises(TokenizerError, match="can't be read"):
            open_regular(path, TokenizerError)


def test_a_file_of_its_bound_is_read_whole(tmp_path):
    path = tmp_path / "file"
    for size in (0, 1, 1 << 16, (1 << 16) + 1, 300_000):
        content = os.urandom(size)
        path.write_bytes(content)
        assert read_bytes(path, size, ValueError) == content
        if size:
            with pytest.raises(ValueError, match=f"at most {size - 1} are read"):
                read_bytes(path, size - 1, ValueError)


def test_depth_is_counted_in_values_and_not_in_text():
    nested = json.loads("[" * 90 + "]" * 90)
    assert parse_json(json.dumps({"a": nested, "b": "[" * 500}).encode()) == {
        "a": nested,
        "b": "[" * 500,
    }
    assert parse_json(json.dumps([[]] * 500).encode()) == [[]] * 500
    for brackets in ("[]", ["{", "}"]):
        inner = '"x":' if brackets[0] == "{" else ""
        deep = (brackets[0] + inner) * 102 + "1" + brackets[1] * 102
        with pytest.raises(ValueError, match="nested more than 100 deep"):
            parse_json(deep.encode())


def test_ids_that_no_model_has_are_refused(folder):
    for number in (-1, 1 << 31, 10**30, 1.5, True, None):
        ids = {**json.loads((MARIAN / "vocab.json").read_bytes()), "x": number}
        (folder / "vocab.json").write_text(json.dumps(ids))
        with pytest.raises(TokenizerError, match=r"vocab\.json: the id of piece 'x'"):
            MarianTokenizer(folder)
