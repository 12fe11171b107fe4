"""The weights of a Quant layer are its Keras parent's; what observers hold is saved beside them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import Int8Gather, QuantAttention, QuantDense, QuantEinsumDense
from keras_int8nmt.layers.model_state import observers, set_state, settle

RNG = np.random.default_rng(5)
X = RNG.normal(size=(3, 5, 6)).astype(np.float32)
IDS = RNG.integers(0, 9, (3, 5))

PAIRS = {
    "dense": (keras.layers.Dense, QuantDense, (4,), (X,)),
    "einsum": (keras.layers.EinsumDense, QuantEinsumDense, ("abc,cd->abd", (5, 4)), (X,)),
    "attention": (keras.layers.MultiHeadAttention, QuantAttention, (2, 3), (X, X)),
    "embedding": (keras.layers.Embedding, Int8Gather, (9, 4), (IDS,)),
}


def models(name):
    parent_class, our_class, arguments, inputs = PAIRS[name]
    made = []
    for layer_class in (parent_class, our_class):
        layer = layer_class(*arguments)
        symbol = keras.Input(inputs[0].shape[1:], dtype=str(inputs[0].dtype))
        made.append(keras.Model(symbol, layer(*[symbol] * len(inputs))))
    return *made, inputs[0]


def text_of(model):
    lines = []
    model.summary(print_fn=lines.append)
    return "\n".join(lines)


@pytest.mark.parametrize("name", PAIRS)
def test_they_are_as_many_of_the_same_shapes(name):
    parent, ours, _ = models(name)
    for theirs, own in ((parent, ours), (parent.layers[-1], ours.layers[-1])):
        assert [w.shape for w in own.weights] == [w.shape for w in theirs.weights]
        assert len(own.trainable_weights) == len(theirs.trainable_weights)
        assert own.non_trainable_weights == []
        assert own.count_params() == theirs.count_params()
    total = f"Total params: {parent.count_params()}"
    assert total in text_of(parent)
    assert total in text_of(ours)


@pytest.mark.parametrize("name", PAIRS)
def test_they_go_from_one_to_the_other_and_back(name):
    parent, ours, x = models(name)
    ours.set_weights(parent.get_weights())
    np.testing.assert_allclose(ours(x), parent(x), atol=1e-6)
    changed = [w + 1 for w in ours.get_weights()]
    parent.layers[-1].set_weights(changed)
    ours.layers[-1].set_weights(changed)
    np.testing.assert_allclose(ours(x), parent(x), atol=1e-5)


def test_what_observers_hold_is_saved_with_them(tmp_path):
    _, ours, x = models("attention")
    set_state(ours, "observing")
    ours(x)
    set_state(ours, "float")
    thresholds = settle(ours)
    ours.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    found = [observer.thresholds() for _, observer in observers(again) if observer.is_calibrated]
    assert found == list(thresholds.values())


def test_thresholds_are_weights_while_they_train():
    _, ours, _ = models("dense")
    (_, observer), before = observers(ours)[0], len(ours.weights)
    observer.learned.start()
    assert len(ours.weights) == before + 2
    assert any(w is observer.learned.log2_growth for w in ours.trainable_weights)
    observer.learned.stop()
    assert len(ours.weights) == before
