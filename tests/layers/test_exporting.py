"""Calibrated models are exported with their ranges; what they compute is the simulation."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import Int8Gather, QuantAttention, QuantDense, simulate
from keras_int8nmt.layers import ranges_in_exports
from keras_int8nmt.layers.model_state import observers, set_state, settle
from keras_int8nmt.thresholds.errors import NotCalibratedError

tf = pytest.importorskip("tensorflow", reason="exports are TensorFlow's")

IDS = np.random.default_rng(0).integers(0, 20, (4, 6)).astype("int32")


def attending():
    ids = keras.Input((6,), dtype="int32", batch_size=4)
    h = Int8Gather(20, 16)(ids)
    h = keras.layers.LayerNormalization()(QuantAttention(2, 8)(h, h))
    return keras.Model(ids, QuantDense(3)(QuantDense(16, activation="relu")(h)))


def calibrated():
    model = attending()
    set_state(model, "observing")
    model(IDS)
    settle(model)
    set_state(model, "float")
    return model


def traced(model):
    spec = tf.TensorSpec(IDS.shape, tf.int32)
    return tf.function(model, autograph=False).get_concrete_function(spec)


def test_the_graph_is_the_simulation_with_constant_ranges_and_no_branch():
    model = calibrated()
    before = np.asarray(model(IDS))
    with ranges_in_exports(model):
        exported = traced(model)
    kinds = [operation.type for operation in exported.graph.get_operations()]
    # Of seven observers of the attention two saw nothing: one tensor is query, key and value.
    assert kinds.count("FakeQuantWithMinMaxArgs") == 5 + 2
    assert not {"If", "StatelessIf", "PartitionedCall", "AssignVariableOp"} & set(kinds)
    simulate(model)
    np.testing.assert_allclose(exported(IDS), model(IDS), atol=1e-4)
    simulate(model, enabled=False)
    np.testing.assert_array_equal(model(IDS), before)
    assert all(observer.constant is None for _, observer in observers(model))


def test_a_model_without_thresholds_is_refused():
    with pytest.raises(NotCalibratedError), ranges_in_exports(attending()):
        pass
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="no calibrated ranges"), ranges_in_exports(plain):
        pass
