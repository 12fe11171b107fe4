"""Files of plain Keras layers go into Quant models of the same architecture, and back."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import (
    Int8Gather,
    KerasInt8nmtError,
    QuantAttention,
    QuantDense,
    layers,
    load_plain_weights,
    save_plain_weights,
)
from keras_int8nmt.layers.model_state import observers, set_state, settle
from keras_int8nmt.layers.plain_files import plain_name

X = np.random.default_rng(3).normal(size=(4, 8)).astype(np.float32)
IDS = np.random.default_rng(4).integers(0, 9, (4, 5)).astype("int32")


class Stack(keras.layers.Layer):
    """Holds its layers in an attribute, in a list and in a dict."""

    def __init__(self, dense, other):
        super().__init__()
        self.first = dense(8)
        self.rest = [dense(8), other(8), dense(8)]
        self.named = {"a": other(8), "b": dense(8)}

    def build(self, shape):
        for layer in self._all():
            layer.build(shape)

    def _all(self):
        return [self.first, *self.rest, *self.named.values()]

    def call(self, x):
        for layer in self._all():
            x = layer(x)
        return x


def mixed(dense):
    """All layers of one shape, so that only their order tells which is which."""
    plain = keras.layers.Dense
    layers = [dense(8), plain(8), dense(8, activation="relu"), plain(8), dense(8)]
    return keras.Sequential([keras.Input((8,)), *layers])


def attending(dense, attention, embedding):
    ids = keras.Input((5,), dtype="int32")
    h = embedding(9, 6)(ids)
    h = keras.layers.LayerNormalization()(attention(2, 3)(h, h))
    return keras.Model(ids, dense(4)(h))


def of_layers(dense):
    x = keras.Input((8,))
    return keras.Model(x, dense(8)(Stack(dense, keras.layers.Dense)(x)))


PLAIN = keras.layers.Dense, keras.layers.MultiHeadAttention, keras.layers.Embedding
PAIRS = {
    "sequential, both kinds": (lambda: mixed(PLAIN[0]), lambda: mixed(QuantDense), X),
    "functional": (
        lambda: attending(*PLAIN),
        lambda: attending(QuantDense, QuantAttention, Int8Gather),
        IDS,
    ),
    "layers in a layer": (lambda: of_layers(PLAIN[0]), lambda: of_layers(QuantDense), X),
}


def pair(name):
    keras.utils.set_random_seed(7)
    make_plain, make_ours, x = PAIRS[name]
    plain, ours = make_plain(), make_ours()
    for weight in plain.trainable_weights:
        # Biases begin as zeros, and would not tell.
        weight.assign(np.random.default_rng(len(weight.path)).normal(size=weight.shape) * 0.3)
    assert not np.allclose(ours(x), plain(x))
    return plain, ours, x


def calibrated(model, x):
    set_state(model, "observing")
    model(x)
    settle(model)
    set_state(model, "float")
    return [o.thresholds() for _, o in observers(model)]


@pytest.mark.parametrize("name", PAIRS)
def test_weights_of_plain_layers_are_found_and_nothing_is_calibrated(name, tmp_path):
    plain, ours, x = pair(name)
    plain.save_weights(tmp_path / "plain.weights.h5")
    before = calibrated(ours, x)
    assert before
    load_plain_weights(ours, tmp_path / "plain.weights.h5")
    np.testing.assert_allclose(ours(x), plain(x), rtol=1e-5, atol=1e-5)
    assert not any(o.is_calibrated for _, o in observers(ours))


@pytest.mark.parametrize("name", PAIRS)
def test_plain_models_load_ours_and_thresholds_come_back(name, tmp_path):
    plain, ours, x = pair(name)
    thresholds = calibrated(ours, x)
    save_plain_weights(ours, tmp_path / "ours.weights.h5")
    plain.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(plain(x), ours(x), rtol=1e-5, atol=1e-5)
    again = PAIRS[name][1]()
    load_plain_weights(again, tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(again(x), ours(x))
    np.testing.assert_array_equal([o.thresholds() for _, o in observers(again)], thresholds)


def test_a_keras_file_of_a_compiled_model_serves_too(tmp_path):
    plain, ours, x = pair("sequential, both kinds")
    plain.compile("adam", "mse")
    plain.optimizer.build(plain.trainable_variables)
    plain.save(tmp_path / "plain.keras")
    load_plain_weights(ours, tmp_path / "plain.keras")
    np.testing.assert_allclose(ours(x), plain(x), rtol=1e-5, atol=1e-5)
    ours.set_weights([w * 0 for w in ours.get_weights()])
    ours.set_weights(keras.models.load_model(tmp_path / "plain.keras").get_weights())
    np.testing.assert_allclose(ours(x), plain(x), rtol=1e-5, atol=1e-5)


def test_keras_own_loading_says_which_function_it_takes(tmp_path):
    plain, ours, _ = pair("sequential, both kinds")
    plain.save_weights(tmp_path / "plain.weights.h5")
    with pytest.raises(ValueError, match="load_plain_weights"):
        ours.load_weights(tmp_path / "plain.weights.h5")
    ours.save_weights(tmp_path / "ours.weights.h5")
    with pytest.raises(KerasInt8nmtError, match=r"(?s)ours.weights.h5.*model.load_weights\(path\)"):
        load_plain_weights(ours, tmp_path / "ours.weights.h5")


def test_another_architecture_and_a_file_that_is_none_are_told_by_the_file(tmp_path):
    _, ours, _ = pair("sequential, both kinds")
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(KerasInt8nmtError, match=r"other.weights.h5.*do not go with model"):
        load_plain_weights(ours, tmp_path / "other.weights.h5")
    (tmp_path / "none.weights.h5").write_bytes(b"nothing")
    with pytest.raises(KerasInt8nmtError, match=r"none.weights.h5"):
        load_plain_weights(ours, tmp_path / "none.weights.h5")
    with pytest.raises(FileNotFoundError, match=r"missing.weights.h5"):
        load_plain_weights(ours, tmp_path / "missing.weights.h5")
    # Whatever happened inside, the classes have their own names again.
    assert [c.__name__ for c in (QuantDense, QuantAttention, Int8Gather)] == [
        "QuantDense",
        "QuantAttention",
        "Int8Gather",
    ]


def test_each_quant_layer_stands_for_one_that_keras_or_kerashub_has():
    ours = {name for name in layers.__all__ if name.startswith("Quant")} | {"Int8Gather"}
    names = {name: plain_name(getattr(layers, name)) for name in ours}
    assert names["QuantCachedMultiHeadAttention"] == "CachedMultiHeadAttention"
    # By their own names: `keras.layers.GroupQueryAttention` is another one.
    keras_names = {getattr(value, "__name__", None) for value in vars(keras.layers).values()}
    assert names["QuantT5MultiHeadAttention"] == "T5MultiHeadAttention"
    of_keras_hub = {"CachedMultiHeadAttention", "T5MultiHeadAttention"}
    assert set(names.values()) - of_keras_hub <= keras_names

    class MyDense(QuantDense):
        pass

    assert plain_name(MyDense) == "MyDense"


def test_files_with_our_names_stay_as_they_are(tmp_path):
    _, ours, x = pair("functional")
    thresholds = calibrated(ours, x)
    ours.save_weights(tmp_path / "ours.weights.h5")
    again = PAIRS["functional"][1]()
    again.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(again(x), ours(x))
    np.testing.assert_array_equal([o.thresholds() for _, o in observers(again)], thresholds)
