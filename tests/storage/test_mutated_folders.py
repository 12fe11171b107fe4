"""Mutated folders: each is opened, or one error of the package names what is wrong with it.

`KERAS_INT8NMT_FUZZ=20000 pytest tests/storage/test_mutated_folders.py` tries more of them, and
`KERAS_INT8NMT_FUZZ_SEED` others.
"""

from __future__ import annotations

import json
import os
import random
import time
import warnings
from pathlib import Path

import pytest
from helpers.models import tiny_model
from helpers.mutations import copy_folder, mutate, seal_again

import keras_int8nmt
from keras_int8nmt import MarianTokenizer, convert, native, save_folder
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.runtime.spec_file import SPEC_FILES
from keras_int8nmt.storage.card import MODEL_FILE, read_card, seal_card
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.storage.model_folder import load_folder
from keras_int8nmt.translation.translator import load_translator

TRIES = int(os.environ.get("KERAS_INT8NMT_FUZZ", "0"))
SEED = int(os.environ.get("KERAS_INT8NMT_FUZZ_SEED", "1"))
# Nothing of this size takes a tenth of it; a wait would be for ever.
SECONDS = 30


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of a small INT8 model and a tokenizer that fits it."""
    tokenizer = MarianTokenizer(Path(keras_int8nmt.__file__).parent / "default_model")
    folder = tmp_path_factory.mktemp("whole") / "model"
    save_folder(convert(tiny_model(), activations="dynamic"), folder, tokenizer)
    return folder


def try_folders(whole, place, tries, use):
    """Uses mutated copies; how many could be used. Fails on another error, and on a wait."""
    used = 0
    for seed in range(SEED, SEED + tries):
        copy_folder(whole, place)
        what = mutate(place, random.Random(seed))
        started = time.monotonic()
        try:
            use(place)
            used += 1
        except KerasInt8nmtError as error:
            assert str(error), (seed, what)  # noqa: PT017
        except Exception as error:
            pytest.fail(f"seed {seed}, {what}: {type(error).__name__}: {error}")
        assert time.monotonic() - started < SECONDS, (seed, what)
    return used


@pytest.mark.skipif(native.reason() is not None, reason=f"no native library: {native.reason()}")
def test_a_mutated_folder_of_the_run_side_translates_or_is_refused(whole, tmp_path):
    without_keras = tmp_path / "whole"
    copy_folder(whole, without_keras)
    drop_keras(without_keras)
    tries = TRIES or 300
    used = try_folders(without_keras, tmp_path / "changed", tries, translate)
    # A changed weight is no damage that a file could tell; most others are.
    assert used < tries / 2


@pytest.mark.skipif(native.reason() is not None, reason=f"no native library: {native.reason()}")
def test_a_model_and_a_tokenizer_of_other_ids_are_refused_by_their_folder(whole, tmp_path):
    folder = tmp_path / "model"
    copy_folder(whole, folder)
    content = json.loads((folder / "spec.json").read_bytes())
    content["settings"]["eos_id"] = 4
    (folder / "spec.json").write_text(json.dumps(content))
    seal_again(folder, "spec.json")
    with pytest.raises(ModelFolderError, match=r"model.* the `eos_id` of the model is 4, of the"):
        load_translator(folder)


def drop_keras(folder):
    card = read_card(folder)
    del card["files"][MODEL_FILE]
    (folder / MODEL_FILE).unlink()
    seal_card(folder, card)


def translate(folder):
    with load_translator(folder, max_length=4, streams=1) as translator:
        try:
            translator(["Where is the station?"])
        except (RuntimeError, ValueError) as error:
            # Of that sentence: a weight or a scale became NaN, an id has no piece.
            if type(error) not in translator.errors and not isinstance(error, ValueError):
                raise


@pytest.mark.slow
def test_a_mutated_folder_is_loaded_by_keras_or_is_refused(whole, tmp_path):
    keras_alone = tmp_path / "whole"
    copy_folder(whole, keras_alone)
    card = read_card(whole)
    for name in SPEC_FILES:
        (keras_alone / name).unlink()
        del card["files"][name]
    seal_card(keras_alone, {**card, "format_version": 1})
    tries = TRIES // 10 or 60
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        used = try_folders(keras_alone, tmp_path / "changed", tries, load_folder)
    assert used < tries


@pytest.mark.slow
@pytest.mark.skipif(native.reason() is not None, reason=f"no native library: {native.reason()}")
def test_a_mutated_saved_model_is_loaded_or_is_refused(tmp_path):
    from keras_int8nmt.storage.saved_model import export_saved_model, load_saved_model

    export_saved_model(tiny_model(), tmp_path / "whole")
    tries = TRIES // 100 or 12
    used = try_folders(tmp_path / "whole", tmp_path / "changed", tries, load_saved_model)
    assert used < tries
