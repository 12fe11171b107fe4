"""Plain norms of a converted model are computed in one pass, with the numbers that Keras has."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from keras_int8nmt import convert, quantize_model
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.layers.inference.frozen_layer_norm import FrozenLayerNorm
from keras_int8nmt.layers.model_state import layers_of, set_state, settle

X = np.random.default_rng(7).normal(size=(8, 6, 16)).astype(np.float32)


def converted(model, x=X):
    quant = quantize_model(model)
    set_state(quant, "observing")
    quant(x)
    settle(quant, "naive")
    set_state(quant, "float")
    return convert(quant)


def with_norm(norm, width=16):
    """A norm whose output is seen, with random weights, and a product behind it."""
    keras.utils.set_random_seed(3)
    x = keras.Input((6, width))
    y = norm(x)
    model = keras.Model(x, [y, layers.Dense(4, name="dense")(y)])
    rng = np.random.default_rng(1)
    for variable in norm.weights:
        variable.assign(rng.normal(1, 0.3, variable.shape))
    return model


def frozen_norms(model):
    return [layer for layer in layers_of(model) if isinstance(layer, FrozenLayerNorm)]


@pytest.mark.parametrize(
    "settings",
    [{}, {"epsilon": 1e-6}, {"center": False}, {"scale": False}, {"axis": [-1]}],
    ids=str,
)
def test_a_norm_over_the_last_axis_gives_the_numbers_of_keras(settings):
    model = with_norm(layers.LayerNormalization(name="norm", **settings))
    int8 = converted(model)
    (norm,) = frozen_norms(int8)
    assert norm.name == "norm"
    assert norm.epsilon == model.get_layer("norm").epsilon
    given = [X, 1e3 * X + 50, np.zeros_like(X)]
    for x in given:
        expected = np.asarray(model(x)[0])
        np.testing.assert_allclose(np.asarray(int8(x)[0]), expected, rtol=2e-4, atol=2e-5)


class OwnNorm(layers.LayerNormalization):
    def call(self, inputs):
        return 2 * super().call(inputs)


@pytest.mark.parametrize(
    "norm",
    [
        lambda: layers.LayerNormalization(axis=1),
        lambda: layers.LayerNormalization(axis=[1, 2]),
        lambda: layers.LayerNormalization(center=False, scale=False),
        OwnNorm,
    ],
    ids=["another axis", "two axes", "no weights", "subclass"],
)
def test_any_other_norm_is_that_of_keras(norm):
    model = with_norm(norm())
    int8 = converted(model)
    assert not frozen_norms(int8)
    np.testing.assert_allclose(np.asarray(int8(X)[0]), np.asarray(model(X)[0]), rtol=1e-6)


@keras.saving.register_keras_serializable("test_plain_norms")
class Block(layers.Layer):
    """Makes its norm itself, as blocks of libraries do, and tells of its product alone."""

    def __init__(self, dense=None, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization(name="norm")
        self.dense = dense or layers.Dense(16, name="dense")

    def build(self, shape):
        self.norm.build(shape)
        if not self.dense.built:
            self.dense.build(shape)

    def call(self, x):
        return self.norm(x + self.dense(x))

    def get_config(self):
        return {
            **super().get_config(),
            "dense": keras.saving.serialize_keras_object(self.dense),
        }

    @classmethod
    def from_config(cls, config):
        config["dense"] = keras.saving.deserialize_keras_object(config["dense"])
        return cls(**config)


def test_a_block_that_makes_a_plain_norm_when_it_is_loaded_finds_its_weights(tmp_path):
    keras.utils.set_random_seed(3)
    x = keras.Input((6, 16))
    model = keras.Model(x, Block()(x))
    for variable in model.weights:
        variable.assign(np.random.default_rng(2).normal(1, 0.3, variable.shape))
    int8 = converted(model)
    assert len(frozen_norms(int8)) == 1
    int8.save(tmp_path / "int8.keras")
    again = keras.saving.load_model(tmp_path / "int8.keras")
    assert not frozen_norms(again)
    np.testing.assert_allclose(np.asarray(again(X)), np.asarray(int8(X)), rtol=2e-4, atol=2e-5)


def test_a_norm_that_is_saved_and_loaded_gives_the_same_bits(tmp_path):
    int8 = converted(with_norm(layers.LayerNormalization(name="norm", scale=False)))
    int8.save(tmp_path / "int8.keras")
    again = keras.saving.load_model(tmp_path / "int8.keras")
    assert len(frozen_norms(again)) == 1
    for ours, theirs in zip(again(X), int8(X), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_norm_without_weights_says_so():
    with pytest.raises(KerasInt8nmtError, match="has no weights yet"):
        FrozenLayerNorm()(X)


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="gamma"):
        FrozenLayerNorm.from_weights(np.array([1, np.nan], np.float32), None)
