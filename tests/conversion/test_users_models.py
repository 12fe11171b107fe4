"""Models as their users write them: compiled with their own objects, under dtype policies."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import make_data, tiny_model

from keras_int8nmt import (
    CalibrationCallback,
    Int8Gather,
    QuantAttention,
    QuantDense,
    convert,
)
from keras_int8nmt.layers.model_state import set_state, settle

# What Keras offers beside float32.
POLICIES = ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64"]


def own_loss(y, p):
    return keras.ops.mean(keras.ops.square(y - p))


def own_activation(x):
    return keras.ops.tanh(x) * 0.5


class OwnMetric(keras.metrics.Metric):
    def __init__(self, factor):
        super().__init__(name="own")
        self.total = self.add_variable((), "zeros")
        self.factor = factor

    def update_state(self, y, p, sample_weight=None):
        self.total.assign_add(self.factor * keras.ops.mean(p))

    def result(self):
        return self.total


class OwnLoss(keras.losses.Loss):
    def call(self, y, p):
        return keras.ops.square(y - p)


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.01 / (1.0 + keras.ops.cast(step, "float32"))


class OwnOptimizer(keras.optimizers.SGD):
    pass


class OwnRegularizer(keras.regularizers.Regularizer):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * keras.ops.sum(x)

    def get_config(self):
        return {"factor": self.factor}


class Doubled(keras.layers.Layer):
    """Without `get_config`, as most are written."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(8)
        self.factor = factor

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x):
        return self.inner(x) * self.factor

    def compute_output_shape(self, shape):
        return shape


class OwnModel(keras.Model):
    """Its own training step, made of inputs and outputs."""

    def train_step(self, data):
        return super().train_step(data)


def rows(n=32, seed=0, dtype="float32"):
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(dtype)


def sequential():
    return keras.Sequential([keras.Input((8,)), QuantDense(8, activation="relu"), QuantDense(2)])


def functional(model_class=keras.Model):
    a = keras.Input((8,), name="a")
    return model_class(a, QuantDense(2)(QuantDense(8)(a)))


def nested():
    a = keras.Input((8,))
    inner = functional()
    inner.compile("adam", own_loss)
    return keras.Model(a, QuantDense(2)(inner(a)))


def calibrated(model, x):
    """Without a compiled step, which takes seconds to trace."""
    set_state(model, "observing")
    model(x)
    settle(model, "naive")
    set_state(model, "float")
    return model


def near(model, int8, x, most=0.06):
    """The root mean square of the difference against the model's own answers is small."""
    exact, found = (np.asarray(tf.cast(m(x), tf.float32)) for m in (model, int8))
    return np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)) < most


COMPILED = {
    "function": {"optimizer": "adam", "loss": own_loss},
    "lambda": {"optimizer": "adam", "loss": lambda y, p: keras.ops.mean(p)},
    "class": {"optimizer": "adam", "loss": OwnLoss()},
    "metric": {"optimizer": "adam", "loss": "mse", "metrics": [OwnMetric(2.0)]},
    "metric function": {"optimizer": "adam", "loss": "mse", "metrics": [lambda y, p: p]},
    "schedule": {"optimizer": keras.optimizers.Adam(OwnSchedule()), "loss": "mse"},
    "optimizer": {"optimizer": OwnOptimizer(0.01), "loss": "mse"},
}


@pytest.mark.parametrize(
    ("make", "how"),
    [*((sequential, how) for how in COMPILED), (functional, "lambda"), (nested, "schedule")],
)
def test_a_model_compiled_with_objects_of_its_users_converts_and_stays_as_it_was(make, how):
    model = calibrated(make(), rows())
    model.compile(**COMPILED[how])
    loss, optimizer = model.loss, model.optimizer
    int8 = convert(model)
    assert int8.conversion_report.precision == "int8"
    assert not int8.compiled
    assert model.compiled
    assert model.loss is loss
    assert model.optimizer is optimizer
    # The graph of the original has no second use of its layers.
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)


def test_a_compiled_model_calibrates_in_evaluate_and_converts_to_its_numbers():
    model = sequential()
    model.compile(keras.optimizers.Adam(OwnSchedule()), own_loss, metrics=[OwnMetric(1.0)])
    x = rows(64)
    model.fit(x, x[:, :2], verbose=0)
    model.evaluate(x, x[:, :2], verbose=0, callbacks=[CalibrationCallback("naive")])
    int8 = convert(model)
    assert near(model, int8, x)
    np.testing.assert_array_equal(int8.predict(x, verbose=0), int8(x).numpy())


def test_a_functional_model_of_its_users_class_keeps_it():
    model = calibrated(functional(OwnModel), rows())
    model.compile("adam", own_loss)
    int8 = convert(model)
    assert type(int8) is OwnModel
    assert near(model, int8, rows())


LAYERS = {
    "lambda": lambda: keras.layers.Lambda(lambda t: t * 2),
    "lambda with settings": lambda: keras.layers.Lambda(
        lambda t, by: t * by, output_shape=lambda s: s, arguments={"by": 3.0}
    ),
    "lambda of a function": lambda: keras.layers.Lambda(own_activation, output_shape=(8,)),
    "activation": lambda: keras.layers.Activation(own_activation),
    "activation lambda": lambda: keras.layers.Activation(lambda x: x * 0.5),
    "dense": lambda: keras.layers.Dense(
        8, activation=lambda x: x * 2, kernel_regularizer=OwnRegularizer(0.1)
    ),
    "regularizer": lambda: keras.layers.Dense(8, kernel_regularizer=OwnRegularizer(0.1)),
    "own layer": lambda: Doubled(factor=3.0),
    "wrapper": lambda: in_time(Doubled()),
    "wrapped lambda": lambda: in_time(keras.layers.Lambda(lambda t: t + 1.0)),
}


def in_time(layer):
    x = keras.Input((8,))
    y = keras.layers.TimeDistributed(layer)(keras.layers.Reshape((1, 8))(x))
    return keras.Model(x, keras.layers.Reshape((8,))(y))


@pytest.mark.parametrize("kind", list(LAYERS))
def test_layers_that_hold_unregistered_objects_are_copied(kind):
    a = keras.Input((8,))
    model = keras.Model(a, QuantDense(3)(LAYERS[kind]()(QuantDense(8)(a))))
    x = rows()
    int8 = convert(calibrated(model, x))
    assert near(model, int8, x)
    ours = {id(layer) for layer in model.layers}
    assert not any(id(layer) in ours for layer in int8.layers)


def test_a_layer_that_its_configuration_does_not_make_is_copied_all_the_same():
    class Chosen(keras.layers.Layer):
        def __init__(self, table):
            super().__init__(name="chosen")
            self.table = table

        def call(self, x):
            return x * self.table

    a = keras.Input((8,))
    table = object.__new__(Table)
    model = keras.Model(a, QuantDense(3)(Chosen(table)(QuantDense(8)(a))))
    int8 = convert(calibrated(model, rows()))
    assert near(model, int8, rows())
    assert int8.get_layer("chosen") is not model.get_layer("chosen")
    assert int8.get_layer("chosen").table is table


class Table:
    def __rmul__(self, x):
        return x


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.GroupQueryAttention(8, 2, 1, name="kept"),
        lambda: keras.layers.Bidirectional(
            keras.layers.LSTM(4, return_sequences=True), name="kept"
        ),
        lambda: keras.layers.TimeDistributed(keras.layers.Dense(8), name="kept"),
    ],
)
def test_products_inside_of_kept_layers_are_in_the_report(layer):
    a = keras.Input((3, 8))
    h, kept = QuantDense(8)(a), layer()
    h = kept(h, h) if isinstance(kept, keras.layers.GroupQueryAttention) else kept(h)
    model = keras.Model(a, QuantDense(3)(h))
    report = convert(model, activations="dynamic").conversion_report
    assert report.precision == "mixed"
    floats = [row.name for row in report.rows if row.precision == "float32"]
    assert floats
    assert all(name.startswith("kept") for name in floats)


def test_a_subclassed_model_in_a_graph_converts_with_its_own_call():
    class Inner(keras.Model):
        def __init__(self):
            super().__init__(name="inner")
            self.dense = QuantDense(8)

        def call(self, x):
            return self.dense(x) * 2

    a = keras.Input((8,))
    model = keras.Model(a, QuantDense(3)(Inner()(a)))
    int8 = convert(calibrated(model, rows()))
    assert type(int8.get_layer("inner")) is Inner
    assert int8.conversion_report.precision == "int8"
    assert near(model, int8, rows())


def attending(policy=None, dense_policy="float32"):
    """A Functional model of every layer that converts, plain layers between."""
    ids = keras.Input((6,), dtype="int32")
    h = Int8Gather(20, 16, dtype=policy)(ids)
    h = QuantAttention(2, 8, dtype=policy)(h, h)
    h = keras.layers.LayerNormalization(dtype=policy)(h)
    h = QuantDense(16, activation="gelu", dtype=policy)(h)
    return keras.Model(ids, QuantDense(3, dtype=dense_policy)(h))


@pytest.fixture
def global_policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


IDS = np.random.default_rng(0).integers(0, 20, (64, 6)).astype("int32")


@pytest.mark.parametrize("global_policy", ["mixed_bfloat16", "float64"], indirect=True)
def test_models_under_a_global_policy_predict_as_before(global_policy):
    model = calibrated(attending(), IDS)
    int8 = convert(model, activations="dynamic")
    assert near(model, int8, IDS)
    assert near(model, convert(model, policy="paper"), IDS)
    types = [layer.compute_dtype for layer in model.layers]
    assert [layer.compute_dtype for layer in int8.layers] == types


@pytest.mark.parametrize("policy", POLICIES)
def test_layers_of_a_policy_give_the_type_that_they_gave(policy, tmp_path):
    model = calibrated(attending(policy, policy), IDS)
    int8 = convert(model, bias_correction=True)
    assert int8.output.dtype == model.output.dtype
    found = int8(IDS)
    assert found.dtype == model(IDS).dtype
    assert near(model, int8, IDS)
    int8.save(tmp_path / "int8.keras")
    again = keras.saving.load_model(tmp_path / "int8.keras")
    np.testing.assert_array_equal(np.asarray(again(IDS)), np.asarray(found))


@pytest.mark.parametrize("global_policy", ["mixed_bfloat16"], indirect=True)
def test_a_transformer_under_a_policy_converts_to_float32_and_codes(global_policy):
    data = make_data()
    model = calibrated(tiny_model(), data)
    assert model.compute_dtype != "float32"
    int8 = convert(model)
    exact, found = (np.asarray(tf.cast(m(data), tf.float32)) for m in (model, int8))
    assert np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)) < 0.1
    assert found.dtype == np.float32


def test_a_converted_transformer_does_not_follow_the_policy_of_the_process(tmp_path):
    int8 = convert(tiny_model(), activations="dynamic")
    int8.save(tmp_path / "int8.keras")
    data = make_data()
    expected = int8(data).numpy()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        again = keras.saving.load_model(tmp_path / "int8.keras")
        np.testing.assert_array_equal(again(data).numpy(), expected)
    finally:
        keras.config.set_dtype_policy(before)
