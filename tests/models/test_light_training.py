"""Training leaves out what is off, and follows every change of it all the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import QuantDense
from keras_int8nmt.calibration import observers
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.layers import light_training
from keras_int8nmt.layers.model_state import set_state, simulate
from keras_int8nmt.models.build import build_transformer, copy_weights

RNG = np.random.default_rng(5)
SIZES = {
    "source_vocabulary_size": 20,
    "model_dim": 16,
    "num_heads": 4,
    "ffn_dim": 24,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "max_length": 16,
    "dropout": 0.0,
}
IDS = RNG.integers(1, 20, (8, 6)).astype(np.int32)
INPUTS = (IDS, IDS[:, ::-1])


def compiled(quant=True, source=None, **settings):
    model = build_transformer(quant, **SIZES)
    if source is not None:
        copy_weights(source, model)
    # A learning rate of nothing: losses tell what was computed, and no more.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, **settings)
    return model


@pytest.fixture
def calibrated():
    model = compiled()
    model.evaluate(INPUTS, IDS, callbacks=[CalibrationCallback()], verbose=0)
    return model


def loss_of(model):
    return float(model.fit(INPUTS, IDS, batch_size=8, verbose=0).history["loss"][-1])


def traced_steps(model, monkeypatch):
    """The graphs of the training steps that `model` traces from now on."""
    graphs = []
    step = model.train_step

    def noted(*args):
        logs = step(*args)
        graphs.append(tf.compat.v1.get_default_graph())
        return logs

    monkeypatch.setattr(model, "train_step", noted)
    model.make_train_function(force=True)
    return graphs


def test_a_model_that_observes_nothing_trains_by_the_operations_of_a_plain_model(monkeypatch):
    used, sizes = {}, {}
    for quant in (True, False):
        model = compiled(quant)
        graphs = traced_steps(model, monkeypatch)
        loss_of(model)
        (graph,) = graphs
        used[quant] = {operation.type for operation in graph.get_operations()}
        sizes[quant] = len(graph.get_operations())
    assert not {"PartitionedCall", "StatefulPartitionedCall", "StatelessIf", "If"} & used[True]
    assert sizes[True] < 1.15 * sizes[False]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_follows_the_state_between_two_fits(calibrated, jit_compile):
    model = compiled(source=calibrated, jit_compile=jit_compile)
    for (_, new), (_, old) in zip(observers(model), observers(calibrated), strict=True):
        if old.is_calibrated:
            new.set_thresholds(*old.thresholds())
    expected = {}
    for state in ("float", "simulating"):
        set_state(calibrated, state)
        expected[state] = calibrated.evaluate(INPUTS, IDS, verbose=0)
    assert abs(expected["float"] - expected["simulating"]) > 1e-5
    for state in ("float", "simulating", "float", "simulating"):
        set_state(model, state)
        assert loss_of(model) == pytest.approx(expected[state], rel=2e-6)
        batch = model.train_on_batch(INPUTS, IDS)
        assert float(batch) == pytest.approx(expected[state], rel=2e-6)


def test_training_follows_the_state_in_the_middle_of_fit(calibrated):
    expected = [calibrated.evaluate(INPUTS, IDS, verbose=0)]
    simulate(calibrated)
    expected.append(calibrated.evaluate(INPUTS, IDS, verbose=0))
    simulate(calibrated, False)
    on = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: simulate(calibrated, epoch == 1)
    )
    losses = calibrated.fit(INPUTS, IDS, batch_size=8, epochs=3, verbose=0, callbacks=[on])
    assert losses.history["loss"] == pytest.approx([*expected, expected[0]], rel=2e-6)


def test_one_observer_that_is_switched_by_hand_counts(calibrated):
    loss_of(calibrated)
    observer = calibrated.decoder_blocks[0].ffn_out.input_observer
    observer.reset()
    observer.set_switch(1)
    loss_of(calibrated)
    assert observer.to_histogram().total > 0


@pytest.mark.parametrize("fitted", [False, True])
def test_calibration_in_fit_sees_what_it_sees_in_evaluate(calibrated, fitted, monkeypatch):
    expected = {path: o.to_histogram() for path, o in observers(calibrated)}
    model = compiled(source=calibrated)
    if fitted:
        loss_of(model)
    graphs = traced_steps(model, monkeypatch)
    model.fit(INPUTS, IDS, epochs=3, verbose=0, callbacks=[CalibrationCallback(epoch=2)])
    # Once, although the epochs before observe nothing.
    assert len(graphs) == 1
    for (_, observer), seen in zip(observers(model), expected.values(), strict=True):
        np.testing.assert_array_equal(observer.to_histogram().counts, seen.counts)


def test_steps_and_functions_of_the_users_own_keep_their_branches(calibrated, monkeypatch):
    expected = calibrated.evaluate(INPUTS, IDS, verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def own(ids, targets):
        return loss(targets, calibrated((ids, ids[:, ::-1])))

    step = tf.function(lambda: calibrated.train_step((INPUTS, IDS))["loss"])
    within = tf.function(own)
    for state in ("float", "simulating"):
        set_state(calibrated, state)
        calibrated.reset_metrics()
        losses = float(step()), float(within(IDS, IDS))
        assert losses[0] == pytest.approx(losses[1], rel=2e-6)
    assert abs(losses[0] - expected) > 1e-5

    class Student(light_training.LightTraining, keras.Model):
        """A model that is taught by a function which others call, too."""

        def __init__(self):
            super().__init__()
            self.dense = QuantDense(3)
            self.taught = tf.function(lambda x: self.dense(x))

        def call(self, x):
            return self.taught(x)

    student = Student()
    x = RNG.normal(size=(8, 4)).astype(np.float32)
    student.dense.build(x.shape)
    student.compile(keras.optimizers.SGD(0.0), "mse")
    student.fit(x, x[:, :3], verbose=0)
    before = np.asarray(student.taught(x))
    student.predict(x, callbacks=[CalibrationCallback()], verbose=0)
    simulate(student)
    assert np.abs(np.asarray(student.taught(x)) - before).max() > 1e-4
