"""`.keras` files from strangers: no code runs, nothing is without bounds, one error names them."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.storage.keras_file import check_keras_file, load_keras_file


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """What a small model's file holds, by name."""
    path = tmp_path_factory.mktemp("whole") / "model.keras"
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs)).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(path, match):
    with pytest.raises(ModelFolderError, match=match) as caught:
        load_keras_file(path)
    assert path.name in str(caught.value)
    return caught.value


def test_a_whole_file_is_loaded(tmp_path, members):
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        model = load_keras_file(write(tmp_path / "model.keras", members, compression))
        assert model.layers[-1].units == 3


@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_a_configuration_of_blanks_is_refused_at_once(tmp_path, members, name):
    path = tmp_path / "model.keras"
    write(path, {n: c for n, c in members.items() if n != name}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, b" " * (64 << 20))
    started = time.monotonic()
    refused(path, rf"'{name}' of 67108864 bytes")
    assert time.monotonic() - started < 5


def test_weights_that_were_packed_too_well_are_refused(tmp_path, members):
    bomb = {**members, "model.weights.h5": bytes(64 << 20)}
    refused(write(tmp_path / "model.keras", bomb, zipfile.ZIP_DEFLATED), "'model.weights.h5' of")


def test_a_directory_that_lies_about_sizes_is_refused(tmp_path, members):
    """The directory says 4 bytes, so no more are read; their checksum is that of more."""
    path = write(tmp_path / "model.keras", members)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    at = content.index(b"PK\x01\x02") if b"config.json" not in content[at : at + 80] else at
    while b"config.json" not in content[at : at + 60]:
        at = content.index(b"PK\x01\x02", at + 4)
    content[at + 20 : at + 28] = (4).to_bytes(4, "little") * 2
    path.write_bytes(content)
    refused(path, "no Keras model, or damaged")


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "assets/../../escaped"])
def test_names_that_lead_out_are_refused(tmp_path, members, name):
    (tmp_path / "in").mkdir()
    refused(write(tmp_path / "in" / "model.keras", {**members, name: b"x"}), "leads out of it")
    assert os.listdir(tmp_path) == ["in"]


def test_a_name_twice_is_refused(tmp_path, members):
    path = write(tmp_path / "model.keras", members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", members["config.json"])
    refused(path, "has a name twice")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 100 deep"),
        (b"[]", "no JSON object"),
        (b"{}", "Keras can't load"),
        (b"\xff\xfe", "no Keras model, or damaged"),
        (b"9" * 5000, "no Keras model, or damaged"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, members, config, match):
    refused(write(tmp_path / "model.keras", {**members, "config.json": config}), match)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "model.keras").write_bytes(content)
    refused(tmp_path / "model.keras", "no Keras model, or damaged")


def changed(members, edit):
    config = json.loads(members["config.json"])
    edit(config["config"]["layers"][-1])
    return {**members, "config.json": json.dumps(config).encode()}


MARK = "KERAS_INT8NMT_CODE_HAS_RUN"


def _lambda(layer):
    ran = f"__import__('os').environ.__setitem__({MARK!r}, '1')"
    code = compile(f"lambda x: {ran} or x", "x", "eval").co_consts[0]
    import base64
    import marshal

    text = base64.b64encode(marshal.dumps(code)).decode()
    layer.update(module="keras.layers", class_name="Lambda", registered_name=None)
    layer["config"] = {
        "name": "dense",
        "function": {
            "module": "builtins",
            "class_name": "function",
            "config": {"class_name": "__lambda__", "config": {"code": text}},
            "registered_name": "function",
        },
    }


def _function_of_a_module(layer):
    layer["config"]["activation"] = {
        "module": "os", "class_name": "function", "config": "system", "registered_name": "system",
    }  # fmt: skip


def _class_of_a_module(layer):
    layer.update(
        module="subprocess", class_name="Popen", registered_name=None, config={"args": ["false"]}
    )


def _registered_name(layer):
    layer.update(module=None, class_name="Popen", registered_name="subprocess>Popen")


@pytest.mark.parametrize(
    "edit", [_lambda, _function_of_a_module, _class_of_a_module, _registered_name]
)
def test_no_code_of_a_file_runs(tmp_path, members, edit, monkeypatch):
    def no_process(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen.__init__", no_process)
    monkeypatch.setattr(os, "system", no_process)
    monkeypatch.delenv(MARK, raising=False)
    error = refused(write(tmp_path / "model.keras", changed(members, edit)), "Keras can't load")
    assert "a process was started" not in str(error)
    assert MARK not in os.environ


@pytest.mark.parametrize("kind", ["external link", "external data", "virtual", "absurd shape"])
def test_weights_of_other_files_and_absurd_shapes_are_refused(tmp_path, members, kind):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.ones((4, 3), np.float32)
    (tmp_path / "raw").write_bytes(np.ones(12, np.float32).tobytes())
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        place = file["layers/dense/vars"]
        del place["0"]
        if kind == "external link":
            place["0"] = h5py.ExternalLink(str(secret), "/kernel")
        elif kind == "external data":
            raw = [(str(tmp_path / "raw"), 0, 48)]
            place.create_dataset("0", (4, 3), np.float32, external=raw)
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4, 3), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "kernel", (4, 3))
            place.create_virtual_dataset("0", layout)
        else:
            place.create_dataset("0", (1 << 20, 1 << 20), np.float32, chunks=(64, 64))
    changed = {**members, "model.weights.h5": weights.getvalue()}
    refused(write(tmp_path / "model.keras", changed), "Keras can't load")


def test_what_is_no_model_is_refused(tmp_path, members):
    layer = keras.layers.Activation("relu")
    config = json.dumps(keras.saving.serialize_keras_object(layer)).encode()
    path = write(tmp_path / "model.keras", {**members, "config.json": config})
    refused(path, r"holds a Activation and no Keras model|Keras can't load")


@pytest.mark.parametrize("size", [10**8, 10**10, 10**30])
def test_a_layer_larger_than_its_weights_is_refused_before_it_is_made(tmp_path, members, size):
    def grow(layer):
        layer["config"]["units"] = size

    path = write(tmp_path / "model.keras", changed(members, grow))
    refused(path, f"units={size}, and only .* bytes of weights")


def test_special_files_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.keras")
    with pytest.raises(ModelFolderError, match="no regular file"):
        check_keras_file(tmp_path / "model.keras")
