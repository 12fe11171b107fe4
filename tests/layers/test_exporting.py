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


def dense():
    model = keras.Sequential([keras.Input((3,)), QuantDense(4, name="first")])
    set_state(model, "observing")
    model(np.ones((2, 3), "float32"))
    settle(model)
    return model


def test_arguments_for_litert_are_checked():
    model = dense()
    with pytest.raises(ValueError, match="one of onnx, litert; it is 'tflite'"):
        ranges_in_exports(model, "tflite").__enter__()
    for kind, sample in (("litert", None), ("onnx", np.ones((2, 3)))):
        with pytest.raises(ValueError, match="`sample`, a batch of inputs, is for format='litert'"):
            ranges_in_exports(model, kind, sample=sample).__enter__()
    with pytest.raises(ValueError, match=r"first' for `sample` has no finite range: -?nan"):
        ranges_in_exports(model, "litert", sample=np.full((2, 3), np.nan)).__enter__()


def test_for_litert_what_a_loop_computes_is_refused_by_name():
    class Cell(keras.layers.Layer):
        state_size = output_size = 3

        def build(self, shape):
            self.inner = QuantDense(3, name="inner")
            self.inner.build(shape)

        def call(self, x, states):
            return self.inner(x) + states[0], states

    x = keras.Input((5, 3))
    model = keras.Model(x, keras.layers.RNN(Cell())(x))
    sample = np.ones((2, 5, 3), "float32")
    set_state(model, "observing")
    model(sample)
    settle(model)
    with (
        pytest.raises(ValueError, match=r"no range of what a loop or branch.*inner"),
        ranges_in_exports(model, "litert", sample=sample),
    ):
        pass


def test_for_litert_a_product_that_the_sample_did_not_reach_is_refused_by_name():
    class Chooses(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.other = QuantDense(2, name="one"), QuantDense(2, name="other")

        def build(self, shape):
            self.one.build((None, 3))
            self.other.build((None, 4))

        def call(self, x):
            return self.one(x) if x.shape[-1] == 3 else self.other(x)

    model = Chooses()
    model.build((None, 3))
    set_state(model, "observing")
    for width in (3, 4):
        model(np.ones((2, width), "float32"))
    settle(model)
    with (
        ranges_in_exports(model, "litert", sample=np.ones((2, 3), "float32")),
        pytest.raises(ValueError, match=r"range for the output of 'chooses.*other'"),
    ):
        tf.function(model, autograph=False)(np.ones((2, 4), "float32"))


def test_for_litert_another_dtype_than_float32_is_refused_by_name():
    model = keras.Sequential([keras.Input((3,)), QuantDense(4, dtype="mixed_float16", name="half")])
    sample = np.ones((2, 3), "float32")
    set_state(model, "observing")
    model(sample)
    settle(model)
    with (
        pytest.raises(ValueError, match="half' is float16"),
        ranges_in_exports(model, "litert", sample=sample),
    ):
        pass
