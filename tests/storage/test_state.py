"""What a model is, where no report says it: its layers do."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest

from keras_int8nmt import load_folder, save_folder
from keras_int8nmt.storage.state import precision_of, report_of, state_of

RELEASE = Path(__file__).parents[1] / "data" / "release_0_1_0"


@pytest.fixture(scope="module")
def converted():
    """A converted Functional model that Keras alone saved: without its report."""
    return keras.saving.load_model(RELEASE / "functional.keras")


def test_a_converted_model_without_a_report_is_known_by_its_layers(converted):
    assert report_of(converted) is None
    assert (state_of(converted), precision_of(converted)) == ("converted", "int8")


def test_a_model_that_holds_it_is_known_as_well(converted):
    inputs = keras.Input((6,), dtype="int32")
    outer = keras.Model(inputs, converted(inputs))
    assert (state_of(outer), precision_of(outer)) == ("converted", "int8")


def test_a_model_of_other_layers_is_float():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    assert (state_of(model), precision_of(model)) == ("float", "float32")


def test_it_can_be_saved_as_a_folder_and_loaded(converted, tmp_path):
    save_folder(converted, tmp_path / "m")
    loaded, _, card = load_folder(tmp_path / "m")
    assert (card["state"], card["precision"]) == ("converted", "int8")
    assert card["conversion_report"] is None
    case = json.loads((RELEASE / "expected.json").read_text())["functional"]
    outputs = keras.ops.convert_to_numpy(loaded(keras.ops.array(case["inputs"], "int32")))
    assert [float(x).hex() for x in outputs.ravel()] == case["outputs"]
