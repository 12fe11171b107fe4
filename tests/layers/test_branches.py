"""What stands in branches is traced once for all layers, and is what it is without a graph."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import QuantAttention, QuantDense, simulate
from keras_int8nmt.layers.model_state import observers, set_state, settle
from keras_int8nmt.layers.observing.branches import apply_if

RNG = np.random.default_rng(3)
X = RNG.normal(size=(2, 5, 8)).astype(np.float32)
Y = RNG.normal(size=(2, 5, 8)).astype(np.float32)


def scaled(x, factor, on):
    """A function of a module with a gradient for a float, and none for a bool."""
    return keras.ops.where(on, x * x * factor, x)


@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_has_the_values_and_gradients_of_eager(condition, jit_compile):
    factor, on = tf.constant(1.5), tf.constant(X > 0)

    def step(x, factor, condition):
        with tf.GradientTape() as tape:
            tape.watch([x, factor])
            y = apply_if(condition, scaled, x, factor, on)
            loss = tf.reduce_sum(y * Y)
        return y, *tape.gradient(loss, [x, factor], unconnected_gradients="zero")

    arguments = tf.constant(X), factor, tf.constant(condition)
    for found, expected in zip(
        tf.function(step, jit_compile=jit_compile)(*arguments), step(*arguments), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def model_of(blocks):
    given = x = keras.Input((5, 8))
    for _ in range(blocks):
        x = QuantDense(8)(QuantAttention(2, 4)(x, x, use_causal_mask=True))
    model = keras.Model(given, x)
    set_state(model, "observing")
    model(X)
    set_state(model, "float")
    settle(model)
    return model


def gradient_graph(model):
    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    return step.get_concrete_function(tf.TensorSpec((None, 5, 8)))


def test_further_layers_add_no_function_to_a_graph():
    names = []
    for blocks in (1, 3):
        graph = gradient_graph(model_of(blocks)).graph.as_graph_def()
        names.append({function.signature.name for function in graph.library.function})
    assert names[1] == names[0]


def test_a_traced_function_follows_the_state():
    model = model_of(1)
    step = tf.function(lambda x: model(x))
    expected = {}
    for state in ("float", "observing", "simulating"):
        set_state(model, state)
        expected[state] = np.asarray(model(X))
    assert np.abs(expected["simulating"] - expected["float"]).max() > 1e-5
    for state in ("simulating", "float", "observing", "float", "simulating"):
        set_state(model, state)
        counts = [observer.to_histogram().total for _, observer in observers(model)]
        np.testing.assert_allclose(step(X), expected[state], rtol=1e-5, atol=1e-5)
        now = [observer.to_histogram().total for _, observer in observers(model)]
        seeing = [o for (_, o), a, b in zip(observers(model), counts, now, strict=True) if b > a]
        assert len(seeing) == (6 if state == "observing" else 0)
    assert step.experimental_get_tracing_count() == 1


def test_an_exported_model_simulates_what_was_on_when_it_was_exported(tmp_path):
    model = model_of(1)
    simulate(model)
    expected = np.asarray(model(X))
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(served.serve(X), expected, rtol=1e-5, atol=1e-5)
