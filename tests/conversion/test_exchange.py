"""Copies of models in which layers are exchanged: what is new, what is the same, what is untouched.

The models are those of helpers/users_models.py; quantize_model has tests of its own.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.users_models import MODELS, ROWS, outputs

from keras_int8nmt.conversion.exchange import exchange, unique_paths
from keras_int8nmt.layers.model_state import layers_of

pytestmark = [
    pytest.mark.usefixtures("without_graphs"),
    # As the tutorials' own models do: their blocks end masks that nothing behind them needs.
    pytest.mark.filterwarnings("ignore:.*will therefore destroy the mask"),
]


def facts(model):
    """What must not change: layers, their state, and the graph that they are in."""
    return [
        (
            id(layer),
            type(layer),
            layer.name,
            layer.path,
            layer.trainable,
            layer.built,
            layer.dtype_policy,
            [(id(v), v.path, v.trainable, np.asarray(v).tobytes()) for v in layer.variables],
            len(layer._inbound_nodes),
            len(layer._outbound_nodes),
            sorted(vars(layer)),
        )
        for layer in layers_of(model)
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_has_layers_of_its_own_and_is_the_same_in_all_else(name):
    model, x = MODELS[name]()
    before, expected = facts(model), outputs(model, x)
    copy = exchange(model, [])
    assert facts(model) == before
    for found, wanted in zip(outputs(copy, x), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    ours, theirs = list(layers_of(copy)), list(layers_of(model))
    assert not {id(layer) for layer in ours} & {id(layer) for layer in theirs}
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert [(type(a), a.name, a.path, a.trainable, a.built) for a in ours] == [
        (type(b), b.name, b.path, b.trainable, b.built) for b in theirs
    ]
    assert [(v.path, v.trainable, v.dtype) for v in copy.variables] == [
        (v.path, v.trainable, v.dtype) for v in model.variables
    ]
    # Its weights are its own: changing them changes no answer of the model.
    for weight in copy.trainable_weights:
        weight.assign_add(np.ones(weight.shape))
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(outputs(copy, x), expected, strict=True))
    for found, wanted in zip(outputs(model, x), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def doubling(units, like):
    """A layer in the place of `like` that gives twice as much."""
    layer = keras.layers.Dense(units, activation=like.activation, name=like.name)
    layer.build(like.kernel.shape[:1])
    layer.set_weights([2 * w for w in like.get_weights()])
    return layer


def test_a_shared_layer_is_exchanged_once_wherever_it_is_used():
    model, x = MODELS["shared layer"]()
    shared = model.get_layer("shared")
    new = doubling(16, shared)
    copy = exchange(model, [(shared, new)])
    assert copy.get_layer("shared") is new
    assert copy.get_layer("inner").get_layer("shared") is new
    again, _ = MODELS["shared layer"]()
    again.get_layer("shared").set_weights([2 * w for w in shared.get_weights()])
    for found, wanted in zip(outputs(copy, x), outputs(again, x), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_refers_to_an_exchanged_layer_refers_to_the_new_one():
    """A variable of it, a closure, a bound method, a tf.function and an object that know it."""
    model, x = MODELS["tied"]()
    new = doubling(16, model.dense)
    copy = exchange(model, [(model.dense, new)])
    assert copy.dense is new
    assert copy.kernel_of_dense is new.kernel
    assert copy.helper.owner is copy
    assert model.helper.owner is model
    again, _ = MODELS["tied"]()
    again.dense.set_weights([2 * w for w in model.dense.get_weights()])
    again.scale.assign(model.scale)
    np.testing.assert_allclose(outputs(copy, x)[0], outputs(again, x)[0], rtol=1e-5)
    steps = int(model.steps.numpy())
    copy(x)
    assert int(model.steps.numpy()) == steps


def test_what_training_made_stays_with_the_original():
    model, x = MODELS["mlp"]()
    model.compile("adam", "mse", metrics=["mae"])
    y = np.zeros((len(x), 3), "float32")
    model.train_on_batch(x, y)
    before, functions = model.optimizer, (model.train_function, model.loss)
    model.reset_metrics()
    expected = model.test_on_batch(x, y)
    copy = exchange(model, [])
    assert not copy.compiled
    assert copy.train_function is copy.predict_function is copy.loss is None
    copy.compile("sgd", "mse")
    copy.train_on_batch(x, y)
    assert (model.optimizer, (model.train_function, model.loss)) == (before, functions)
    model.reset_metrics()
    assert model.test_on_batch(x, y)[0] == expected[0]


class Noisy(keras.layers.Layer):
    """Counts, measures and draws: all that a layer can keep."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(5)
        self.seen = keras.metrics.Mean(name="seen")
        self.dense = keras.layers.Dense(4)
        self.cache = {"calls": [0]}

    def call(self, x):
        self.cache["calls"][0] += 1
        self.seen.update_state(x)
        self.add_loss(keras.ops.sum(x))
        return self.dense(x) + keras.random.normal((4,), seed=self.seeds)


def test_seeds_metrics_losses_and_lists_are_copied_with_what_they_hold():
    x = keras.Input((16,))
    model = keras.Model(x, Noisy(name="noisy")(x))
    model(ROWS)
    copy = exchange(model, [])
    ours, theirs = copy.get_layer("noisy"), model.get_layer("noisy")
    calls = theirs.cache["calls"][0]
    np.testing.assert_array_equal(copy(ROWS), model(ROWS))  # the same state of the same seeds
    assert theirs.cache["calls"][0] == ours.cache["calls"][0] == calls + 1
    assert float(ours.seen.result()) == float(theirs.seen.result())
    copy(2 * ROWS)
    assert float(ours.seen.result()) != float(theirs.seen.result())
    assert float(copy.losses[0]) == pytest.approx(2 * float(model.losses[0]), rel=1e-6)
    assert ours.metrics == [ours.seen]
    with pytest.raises(ValueError, match="already built"):
        ours.dense.late = keras.layers.Dense(3)


def test_a_copy_of_a_graph_has_a_graph_that_can_be_built_upon_and_saved(tmp_path):
    model, x = MODELS["vision transformer"]()
    copy = exchange(model, [])
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    cut = keras.Model(copy.input, copy.get_layer("attention_1").output)
    whole = keras.Model(model.input, model.get_layer("attention_1").output)
    np.testing.assert_array_equal(cut(x), whole(x))
    assert copy.get_config() == model.get_config()
    copy.save(tmp_path / "copy.keras")
    again = keras.saving.load_model(tmp_path / "copy.keras")
    np.testing.assert_array_equal(again(x), model(x))


def test_checkpoints_of_tensorflow_know_the_layers_of_a_copy(tmp_path):
    model, _ = MODELS["tensorflow tutorial"]()
    copy = exchange(model, [])
    for weight in copy.trainable_weights:
        weight.assign_add(np.ones(weight.shape))
    path = tf.train.Checkpoint(copy).write(str(tmp_path / "checkpoint"))
    again = exchange(model, [])
    tf.train.Checkpoint(again).read(path).expect_partial()
    np.testing.assert_array_equal(again.final_layer.kernel, copy.final_layer.kernel)


def test_paths_that_come_twice_get_numbers():
    dense = [keras.layers.Dense(1, name="dense") for _ in range(3)]
    other = keras.layers.Dense(1, name="other")
    assert unique_paths([*dense, other]) == ["dense", "dense_1", "dense_2", "other"]
