"""The calibration state of whole models."""

import keras
import numpy as np
import pytest

from keras_int8nmt.calibration import (
    CalibrationError,
    NotCalibratedError,
    observers,
    reset,
    set_state,
    settle,
    simulate,
)
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense

IDS = np.random.default_rng(0).integers(1, 20, (8, 6))


class Block(keras.layers.Layer):
    """A layer that holds quantizable layers in attributes and in a list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = QuantAttention(2, 4, name="attention")
        self.dense = [QuantDense(8, activation="relu", name="first"), QuantDense(8, name="second")]

    def call(self, x):
        x = x + self.attention(x, x, use_causal_mask=True)
        for layer in self.dense:
            x = layer(x)
        return x


def build_model():
    keras.utils.set_random_seed(0)
    ids = keras.Input((6,), dtype="int32")
    outputs = Block(name="block")(Int8Gather(20, 8, name="table")(ids))
    return keras.Model(ids, outputs)


def calibrate(model, mode="symmetric"):
    set_state(model, "observing")
    model(IDS)
    set_state(model, "float")
    return settle(model, mode)


def test_observers_of_nested_layers_have_paths():
    paths = [path for path, _ in observers(build_model())]
    assert len(paths) == len(set(paths)) == 9
    assert "block/attention/query_input" in paths
    assert "block/first/input_observer" in paths


def test_settle_gives_thresholds_and_simulate_uses_them():
    model = build_model()
    expected = model(IDS).numpy()
    thresholds = calibrate(model)
    # The key and value inputs are the query's: they saw nothing and need nothing.
    assert len(thresholds) == 7
    np.testing.assert_array_equal(model(IDS), expected)
    simulate(model)
    simulated = model(IDS).numpy()
    assert 0 < np.abs(simulated - expected).max() < 0.1 * np.abs(expected).max()
    simulate(model, enabled=False)
    np.testing.assert_array_equal(model(IDS), expected)


def test_what_is_never_negative_is_uint8_unless_asked_otherwise():
    model = build_model()
    for mode in ("naive", "symmetric", "mse", "percentile:99.9"):
        calibrate(model, mode)
        after_relu = dict(observers(model))["block/second/input_observer"]
        assert (after_relu.params().dtype, after_relu.params().zero_point) == ("uint8", 0)
        low, high = settle(model, mode, unsigned=False)["block/second/input_observer"]
        assert low == -high < 0
        assert after_relu.params().dtype == "int8"
        settle(model, mode)
        assert after_relu.params().dtype == "uint8"
        reset(model)


def test_a_layer_that_saw_no_data_is_named():
    model = build_model()
    with pytest.raises(NotCalibratedError, match="block/attention/query_input"):
        simulate(model)
    with pytest.raises(CalibrationError) as error:
        settle(model)
    for path in ("block/attention/query_input", "block/second/input_observer"):
        assert f"{path}: no data was seen" in str(error.value)
    assert "key_input" not in str(error.value)


def test_layers_that_saw_nan_are_named_and_nothing_is_settled():
    model = build_model()
    block = model.get_layer("block")
    block.dense[0].bias.assign(np.full(8, np.nan))
    set_state(model, "observing")
    model(IDS)
    with pytest.raises(CalibrationError) as error:
        settle(model)
    assert "block/second/input_observer: 384 values were NaN or infinite" in str(error.value)
    assert "first" not in str(error.value)
    assert not block.dense[0].input_observer.is_calibrated


def test_reset_forgets_data_and_keeps_thresholds():
    model = build_model()
    calibrate(model)
    reset(model)
    observer = model.get_layer("block").dense[0].input_observer
    assert observer.is_calibrated
    assert observer.to_histogram().total == 0


def test_a_stand_in_is_used_again_when_an_input_is_no_longer_seen():
    layer = QuantAttention(2, 4)
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    tensor = keras.ops.convert_to_tensor(x)
    layer(x, x + 1)
    set_state(layer, "observing")
    layer(x, x + 1)
    settle(layer)
    assert layer.value_input.is_calibrated
    reset(layer)
    layer(tensor, tensor)
    settle(layer)
    assert not layer.value_input.is_calibrated


def test_layers_that_int8_cannot_do_are_left_out():
    layer = QuantAttention(2, 4)
    x = np.ones((2, 3, 5, 8), np.float32)
    layer(x, x)
    assert observers(layer) == []


def test_a_layer_found_unable_while_observing_is_off_afterwards():
    layer = QuantAttention(2, 4)
    x = np.ones((2, 3, 8), np.float32)
    layer(x, x)
    model = keras.Sequential([keras.Input((8,)), QuantDense(2)])
    model.extra = layer
    set_state(model, "observing")
    layer(x, x, return_attention_scores=True)
    set_state(model, "float")
    assert int(layer.query_input.switch.numpy()) == 0


def test_models_without_observers_and_unbuilt_ones_are_named():
    with pytest.raises(ValueError, match="no observers"):
        set_state(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "observing")
    with pytest.raises(ValueError, match="must be built"):
        observers(keras.Sequential([QuantDense(2)]))
    with pytest.raises(ValueError, match="'on'"):
        set_state(build_model(), "on")


def test_a_calibrated_model_saves_and_loads(tmp_path):
    model = keras.Sequential([keras.Input((6,)), Int8Gather(20, 8), QuantDense(4)])
    calibrate(model, "independent")
    simulate(model)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model(IDS), again(IDS))
    assert [o.params() for _, o in observers(again)] == [o.params() for _, o in observers(model)]
