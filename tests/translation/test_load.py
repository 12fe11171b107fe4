"""A translator of a folder with a model spec: no Keras, no TensorFlow, the same bits."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.models import make_transformer, random_ids

from keras_int8nmt import (
    Translator,
    convert,
    load_folder,
    load_translator,
    native,
    save_folder,
)
from keras_int8nmt.runtime.spec_file import SPEC_FILES, SpecFileError, read_spec
from keras_int8nmt.storage.card import CARD_FILE, MODEL_FILE, read_card, seal_card
from keras_int8nmt.storage.folders import ModelFolderError

pytestmark = pytest.mark.skipif(
    native.reason() is not None, reason=f"no native library: {native.reason()}"
)

CONVERSIONS = {
    "int8": {},
    "mixed": {"policy": "paper"},
    "dynamic": {"activations": "dynamic"},
    "float": {"policy": "float32"},
    "integer": {"softmax": "integer", "layer_norm": "integer", "weights": "per_tensor"},
}
SETTINGS = {"norm": "pre", "tie_embeddings": False, "target_vocabulary_size": 61}

# What a process says that can't import what the run side does without.
PROGRAM = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax", "h5py"):
            raise ImportError(f"the run side imported {name}")

sys.meta_path.insert(0, Refuse())
from keras_int8nmt import load_translator

with load_translator(sys.argv[1], beam_size=3, num_hypotheses=3) as translator:
    results = translator.translate_ids(json.load(sys.stdin))
print(json.dumps([[[h.score.hex(), *h.tokens] for h in r.hypotheses] for r in results]))
"""

# Before it: the shapes of weights have each back end that this CPU can choose of, in turns.
IN_TURNS = """
import itertools, sys
from keras_int8nmt import native

names = itertools.cycle(native.measure_gemm(64, 64, 0.0)["seconds"])
set_gemm = native.set_gemm

def measure_gemm(k, n, seconds):
    name = next(names)
    return {"fastest": name, "columns": n, "seconds": {name: [1.0] * 4}}

def told(k, n, name):
    assert set_gemm(k, n, name)
    print(native.chosen_gemm(k, n), file=sys.stderr)

native.measure_gemm, native.set_gemm = measure_gemm, told
"""


@pytest.fixture(scope="module")
def converted():
    return {
        name: convert(make_transformer(**(SETTINGS if name == "int8" else {})), **options)
        for name, options in CONVERSIONS.items()
    }


@pytest.fixture(scope="module")
def folders(converted, tmp_path_factory):
    place = tmp_path_factory.mktemp("folders")
    for name, model in converted.items():
        save_folder(model, place / name, keras=name != "dynamic")
    return place


@pytest.fixture
def folder(folders, tmp_path):
    """A copy that a test may change."""
    copy = tmp_path / "int8"
    copy.mkdir()
    for path in (folders / "int8").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def answers(translator: Translator, ids: list[list[int]]) -> list[list[list[object]]]:
    results = translator.translate_ids(ids)
    return [[[h.score.hex(), *h.tokens] for h in r.hypotheses] for r in results]


@pytest.mark.parametrize("name", CONVERSIONS)
def test_tokens_and_scores_are_those_of_the_keras_model_to_the_bit(converted, folders, name):
    model = converted[name]
    ids = random_ids(model)
    with Translator(model, None, beam_size=3, num_hypotheses=3, path="fast") as translator:
        expected = answers(translator, ids)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folders / name)],
        input=json.dumps(ids),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("name", ["int8", "dynamic"])
def test_answers_are_the_same_whichever_back_end_each_shape_has(
    converted, folders, name, monkeypatch
):
    candidates = list(native.measure_gemm(64, 64, 0.0)["seconds"])
    if len(candidates) < 2:
        pytest.skip("there is one candidate alone")
    ids = random_ids(converted[name])
    with Translator(converted[name], None, beam_size=3, num_hypotheses=3, path="fast") as one:
        expected = answers(one, ids)
    monkeypatch.setenv("KERAS_INT8NMT_CACHE", "0")
    done = subprocess.run(
        [sys.executable, "-c", IN_TURNS + PROGRAM, str(folders / name)],
        input=json.dumps(ids),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) == set(candidates)
    assert json.loads(done.stdout) == expected


def test_a_spec_on_disk_is_that_of_the_model(converted, folders):
    read, spec = read_spec(folders / "mixed"), converted["mixed"].spec(packed=False)
    assert read.settings == spec.settings
    assert read.tensors.keys() == spec.tensors.keys()
    for name, tensor in spec.tensors.items():
        np.testing.assert_array_equal(read.tensors[name], tensor, err_msg=name)


def test_a_folder_says_what_it_can_be_opened_by(folders):
    both, alone = read_card(folders / "int8"), read_card(folders / "dynamic")
    assert set(both["files"]) == {MODEL_FILE, *SPEC_FILES}
    assert set(alone["files"]) == set(SPEC_FILES)
    assert both["format_version"] == alone["format_version"] == 2
    with pytest.raises(ModelFolderError, match=r"saved without Keras .* load_translator"):
        load_folder(folders / "dynamic")
    load_folder(folders / "int8")


def test_a_folder_without_a_spec_is_named_with_what_opens_it(tmp_path):
    save_folder(make_transformer(), tmp_path / "calibrated")
    assert read_card(tmp_path / "calibrated")["format_version"] == 1
    with pytest.raises(ModelFolderError, match="holds no model spec: load_folder opens it"):
        load_translator(tmp_path / "calibrated")
    with pytest.raises(ModelFolderError, match="calibrated Transformer"):
        save_folder(make_transformer(), tmp_path / "other", keras=False)
    assert not (tmp_path / "other").exists()


def test_options_are_those_of_a_translator(folders):
    translator = load_translator(folders / "int8", beam_size=2, max_length=5)
    assert translator.options.beam_size == 2
    assert translator.options.max_length == 5
    assert translator.path == "fast"
    assert translator.model.precision == "int8"
    with pytest.raises(ValueError, match="beam_size"):
        load_translator(folders / "int8", beam_size=0)
    with pytest.raises(ValueError, match="`verify` must be one of full, size"):
        load_translator(folders / "int8", verify="no")
    with pytest.raises(RuntimeError, match="loaded without Keras and has no layers"):
        load_translator(folders / "int8", path="layers").translate_ids([[3, 1]])


@pytest.mark.parametrize("name", SPEC_FILES)
@pytest.mark.parametrize("verify", ["full", "size"])
def test_a_truncated_or_missing_file_is_named(folder, name, verify):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFolderError, match=rf"{name}.* truncated or was replaced"):
        load_translator(folder, verify=verify)
    path.unlink()
    with pytest.raises(ModelFolderError, match=rf"has no file {re.escape(name)}"):
        load_translator(folder, verify=verify)


@pytest.mark.parametrize("name", SPEC_FILES)
@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_changed_byte_is_named(folder, name, place):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=rf"{name}.* was changed after it was written"):
        load_translator(folder)


def test_a_changed_setting_that_the_checksums_agree_with_is_named(folder):
    """Files of other hands: the card fits them, the spec does not fit itself."""
    path = folder / "spec.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["settings"]["decoder.0.cross.heads"] = 3
    path.write_text(json.dumps(content), encoding="utf-8")
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    card["files"]["spec.json"] = {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    seal_card(folder, card)
    with pytest.raises(SpecFileError, match=r"int8.*decoder\.0\.cross"):
        load_translator(folder)


def test_without_the_native_library_the_error_says_what_to_do(folders, monkeypatch):
    monkeypatch.setattr(native, "_loaded", native._Loaded(reason="KERAS_INT8NMT_NATIVE=0"))
    with pytest.raises(RuntimeError, match=r"KERAS_INT8NMT_NATIVE=0\. Install .*load_folder"):
        load_translator(folders / "int8")


def test_many_translators_of_one_folder_share_nothing_that_one_could_end(folders):
    ids = [[3, 4, 1], [5, 1]]
    first = load_translator(folders / "int8")
    expected = answers(first, ids)
    second = load_translator(folders / "int8")
    first.close()
    del first
    assert answers(second, ids) == expected


def test_no_file_of_the_folder_is_read_after_loading(folder):
    translator = load_translator(folder)
    expected = answers(load_translator(folder), [[3, 4, 1]])
    for path in Path(folder).iterdir():
        path.unlink()
    assert answers(translator, [[3, 4, 1]]) == expected
