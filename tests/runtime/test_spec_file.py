"""A spec on disk: what was written is read, and a damaged file is named."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from keras_int8nmt.runtime.model_spec import FORMAT_VERSION, ModelSpec
from keras_int8nmt.runtime.spec_file import (
    SETTINGS_FILE,
    TENSORS_FILE,
    SpecFileError,
    read_spec,
    write_spec,
)


def small_spec(packed: bool = False) -> ModelSpec:
    rng = np.random.default_rng(1)
    return ModelSpec(
        {"format_version": FORMAT_VERSION, "max_length": 7, "scale": 0.1, "softmax": "float"},
        {
            "a.weights": rng.integers(-127, 128, (5, 3)).astype(np.int8),
            "a.scales": rng.random(3, np.float32),
            "codes": rng.integers(0, 256, (2, 3, 1)).astype(np.uint8),
        },
        packed,
    )


@pytest.fixture
def folder(tmp_path):
    write_spec(small_spec(), tmp_path)
    return tmp_path


def test_what_was_written_is_read(folder):
    read, spec = read_spec(folder), small_spec()
    assert read.settings == spec.settings
    assert not read.packed
    assert set(read.tensors) == set(spec.tensors)
    for name, tensor in spec.tensors.items():
        assert np.asarray(read.tensors[name]).dtype == tensor.dtype
        np.testing.assert_array_equal(read.tensors[name], tensor)


def test_the_safetensors_package_reads_it(folder):
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    read = numpy.load_file(folder / TENSORS_FILE)
    for name, tensor in small_spec().tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_packed_weights_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="plain weights"):
        write_spec(small_spec(packed=True), tmp_path)


@pytest.mark.parametrize("name", [SETTINGS_FILE, TENSORS_FILE])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(SpecFileError, match=re.escape(name)):
        read_spec(folder)


def test_every_truncation_is_an_error_that_names_the_file(folder):
    path = folder / TENSORS_FILE
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(SpecFileError, match=re.escape(TENSORS_FILE)):
            read_spec(folder)
    path.write_bytes(content + b"\0")
    with pytest.raises(SpecFileError, match="1 bytes more"):
        read_spec(folder)


def test_a_changed_byte_of_the_header_is_an_error_or_changes_no_bounds(folder):
    path = folder / TENSORS_FILE
    content = bytearray(path.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    refused = 0
    for position in range(end):
        for change in (0x01, 0x10, 0x80):
            changed = bytearray(content)
            changed[position] ^= change
            path.write_bytes(changed)
            try:
                read = read_spec(folder)
            except SpecFileError as error:
                refused += TENSORS_FILE in str(error) or SETTINGS_FILE in str(error)
            else:
                # A name or a type of equal size: each tensor still lies inside the file.
                assert sum(t.nbytes for t in read.tensors.values()) == len(content) - end
    assert refused > end


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "F64"},
        {"dtype": []},
        {"shape": [0, 1 << 47, 1 << 47], "data_offsets": [0, 0]},
        {"shape": [0, 3], "data_offsets": [0, 0]},
        {"shape": [], "data_offsets": [0, 1]},
        {"shape": [-5, -3]},
        {"shape": [5.0, 3]},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": "5"},
        {"data_offsets": [0]},
        {"data_offsets": [15, 0]},
        {"data_offsets": [0, 1 << 62]},
        {"data_offsets": [True, 15]},
    ],
)
def test_an_entry_that_is_no_tensor_of_the_file_is_refused(folder, change):
    path = folder / TENSORS_FILE
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["a.weights"].update(change)
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[end:])
    with pytest.raises(SpecFileError, match=re.escape(TENSORS_FILE)):
        read_spec(folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"format": "another"}', "settings of a"),
        ('{"format": "keras-int8nmt spec"}', "settings"),
        ('{"format": "keras-int8nmt spec", "settings": {"format_version": 99}}', "version 99"),
    ],
)
def test_settings_of_another_form_are_refused(folder, text, says):
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(SpecFileError, match=says):
        read_spec(folder)


@pytest.mark.parametrize("value", [[1], None, True, 1 << 70, "\ud800", "a\0b"])
def test_a_setting_that_is_neither_a_number_nor_a_word_is_refused(folder, value):
    path = folder / SETTINGS_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    content["settings"]["scale"] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SpecFileError, match="scale"):
        read_spec(folder)


def spec_with_tied_tables() -> ModelSpec:
    table = np.random.default_rng(2).integers(-127, 128, (100, 64)).astype(np.int8)
    other = table.copy()
    other[-1, -1] ^= 1
    return ModelSpec(
        {"format_version": FORMAT_VERSION},
        {
            "source.table": table,
            "target.table": table.copy(),
            "other.table": other,
            "transposed.weights": table.reshape(64, 100),
        },
        packed=False,
    )


def test_tied_tables_are_stored_once(tmp_path):
    spec = spec_with_tied_tables()
    write_spec(spec, tmp_path)
    stored = json.loads((tmp_path / SETTINGS_FILE).read_bytes())["same"]
    assert stored == {"target.table": "source.table"}
    assert (tmp_path / TENSORS_FILE).stat().st_size < 3 * 6400 + 1000
    read = read_spec(tmp_path)
    assert set(read.tensors) == set(spec.tensors)
    for name, tensor in spec.tensors.items():
        np.testing.assert_array_equal(read.tensors[name], tensor)


@pytest.mark.parametrize(
    "same",
    [
        ["target.table"],
        {"target.table": 1},
        {"target.table": "none.table"},
        {"source.table": "other.table"},
        {"target.table": "target.table"},
        {"a": "target.table", "target.table": "source.table"},
        {"\ud800": "source.table"},
    ],
)
def test_tensors_that_are_the_same_as_none_are_refused(tmp_path, same):
    write_spec(spec_with_tied_tables(), tmp_path)
    path = tmp_path / SETTINGS_FILE
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "same": same}), encoding="utf-8")
    with pytest.raises(SpecFileError, match=re.escape(SETTINGS_FILE)):
        read_spec(tmp_path)
