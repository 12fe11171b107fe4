"""Any Keras model, as its user wrote it: quantized, calibrated and converted, never touched."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers.users_models import MODELS, ROWS, SEQUENCES, WIDTH, outputs
from keras import layers

from keras_int8nmt import (
    CalibrationCallback,
    ConversionError,
    Int8Gather,
    QuantAttention,
    QuantDense,
    build_transformer,
    convert,
    quantize_model,
)
from keras_int8nmt.conversion import plan_quantization, quant_table, register_quant_layer
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer
from keras_int8nmt.layers.model_state import layers_of, observers, set_state, settle, simulate
from keras_int8nmt.layers.quant_layer import QuantLayer

pytestmark = [
    pytest.mark.usefixtures("without_graphs"),
    # As the tutorials' own models do: their blocks end masks that nothing behind them needs.
    pytest.mark.filterwarnings("ignore:.*will therefore destroy the mask"),
]

PLAIN = (layers.Dense, layers.MultiHeadAttention, layers.Embedding)
# Layers that are replaced, and MatMuls that are INT8 then.
EXPECTED = {
    "mlp": (3, 3),
    "vision transformer": (7, 17),
    "keras tutorial": (11, 22),
    "tensorflow tutorial": (10, 23),
    "shared layer": (2, 2),
    "time distributed": (2, 2),
    "bidirectional": (1, 1),
    "lambdas": (2, 2),
    "backbone": (5, 9),
    "tied": (1, 1),
}


def near(found, expected, most):
    """The root mean square of the difference, against that of what was expected."""
    for a, b in zip(found, expected, strict=True):
        assert np.sqrt(np.mean((a - b) ** 2)) <= most * np.sqrt(np.mean(b**2))


def calibrated(model, x):
    """Without a compiled step, which takes seconds to trace."""
    set_state(model, "observing")
    model(x)
    settle(model, "naive")
    set_state(model, "float")
    return model


def kinds(model):
    return [(type(layer), layer.name) for layer in layers_of(model)]


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_is_replaced_calibrated_and_converted_wherever_it_is(name):
    model, x = MODELS[name]()
    before, weights, expected = kinds(model), model.get_weights(), outputs(model, x)
    count, products = EXPECTED[name]

    quant = quantize_model(model)
    assert len(quant.quantization_report.replaced) == count
    assert type(quant) is type(model)
    assert quant.name == model.name
    assert not [one for one in layers_of(quant) if type(one) in PLAIN]
    near(outputs(quant, x), expected, 1e-5)
    assert [w.path for w in quant.weights] == [w.path for w in model.weights]
    for ours, theirs in zip(quant.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    dynamic = convert(quant, activations="dynamic")
    near(outputs(dynamic, x), expected, 0.1)
    calibrated(quant, x)
    assert [path for path, _ in observers(quant)] == sorted(
        {path for path, _ in observers(quant)}, key=[path for path, _ in observers(quant)].index
    )
    state = [np.asarray(v).tobytes() for v in quant.variables]
    int8 = convert(quant)
    assert [np.asarray(v).tobytes() for v in quant.variables] == state
    assert not [one for one in layers_of(int8) if isinstance(one, QuantLayer)]
    rows = int8.conversion_report.rows
    assert sum(row.precision == "int8" for row in rows) == products
    assert len({row.name for row in rows}) == len(rows)
    simulate(quant)
    simulated = outputs(quant, x)
    near(simulated, expected, 0.1)
    near(outputs(int8, x), simulated, 0.05)

    assert kinds(model) == before
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for found, wanted in zip(outputs(model, x), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_all_of_it_happens_in_keras_own_loops():
    """In graphs: the traced function of the float model stays its own and answers as before."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    try:
        model, x = MODELS["backbone"]()
        expected = model.predict(x, verbose=0)
        traced = model.predict_function
        quant = quantize_model(model)
        found = quant.predict(x, verbose=0, callbacks=[CalibrationCallback("naive")])
        near([found], [expected], 1e-5)
        int8 = convert(quant)
        near([int8.predict(x, verbose=0)], [expected], 0.1)
        assert model.predict_function is traced
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    finally:
        tf.config.run_functions_eagerly(True)


def test_a_quantized_model_trains_and_the_float_one_does_not():
    model, x = MODELS["backbone"]()
    expected = outputs(model, x)
    quant = quantize_model(model)
    quant.compile("sgd", "mse")
    quant.train_on_batch(x, np.ones((*x.shape, 4), "float32"))
    assert np.abs(outputs(quant, x)[0] - expected[0]).max() > 1e-4
    np.testing.assert_array_equal(outputs(model, x)[0], expected[0])


def test_methods_and_attributes_of_a_users_class_see_the_new_layers():
    model, x = MODELS["backbone"]()
    quant = quantize_model(model)
    assert type(quant.embed) is Int8Gather
    assert quant.embed is quant.get_layer("embed")
    assert quant.blocks[0] is quant.get_layer("block")
    np.testing.assert_allclose(quant.first_block(x), model.first_block(x), atol=1e-5)
    int8 = convert(calibrated(quant, x))
    near([np.asarray(int8.first_block(x))], [np.asarray(model.first_block(x))], 0.1)


def settled(layer):
    """Everything that a user can have changed on a layer after it was made."""
    return (layer.name, layer.trainable, layer.dtype_policy.name, layer.path)


def test_names_trainable_flags_policies_and_losses_are_kept():
    model = keras.Sequential([keras.Input((WIDTH,))])
    model.add(layers.Dense(8, dtype="mixed_bfloat16", kernel_regularizer="l2", name="first"))
    model.add(layers.Dense(8, trainable=False, activity_regularizer="l2", name="second"))
    model.add(layers.Dense(3, use_bias=False, kernel_constraint="non_neg", name="third"))
    model.layers[2].kernel.trainable = False
    quant = quantize_model(model)
    assert [settled(one) for one in quant.layers] == [settled(one) for one in model.layers]
    assert [w.trainable for w in quant.weights] == [w.trainable for w in model.weights]
    model(ROWS), quant(ROWS)
    np.testing.assert_allclose(quant.losses, model.losses, rtol=1e-6)
    assert quant.layers[2].kernel_constraint is not None
    int8 = convert(calibrated(quant, ROWS))
    assert [one.compute_dtype for one in int8.layers] == [one.compute_dtype for one in model.layers]


class TestFilters:
    def names(self, filters):
        model, _ = MODELS["vision transformer"]()
        return {row.path for row in quantize_model(model, filters).quantization_report.replaced}

    def test_are_those_of_keras(self):
        assert self.names("attention_1") == {"attention_1"}
        assert self.names(["classes", "^attention"]) == {"attention_0", "attention_1", "classes"}
        assert self.names(lambda layer: layer.name == "classes") == {"classes"}

    def test_leave_layers_with_a_reason(self):
        model, _ = MODELS["vision transformer"]()
        quant = quantize_model(model, "classes")
        assert type(quant.get_layer("attention_0")) is layers.MultiHeadAttention
        reasons = {row.path: row.reason for row in quant.quantization_report.left}
        assert reasons["attention_0"] == "filtered out"
        assert reasons["patches"] == "Conv2D has no Quant form"

    def test_of_another_type_are_refused(self):
        model, _ = MODELS["mlp"]()
        with pytest.raises(ValueError, match=r"`filters` must be a regular expression.* 3"):
            quantize_model(model, 3)
        with pytest.raises(ValueError, match=r"'\(' *, which is no regular expression"):
            quantize_model(model, "(")


class OwnDense(layers.Dense):
    def call(self, inputs):
        return super().call(inputs) + 1


def test_what_can_not_be_replaced_is_told_before_anything_is_done():
    x = keras.Input(SEQUENCES.shape[1:])
    h = layers.Dense(WIDTH, name="plain")(x)
    h = OwnDense(WIDTH, name="own")(h)
    h = layers.LSTM(4, return_sequences=True, name="lstm")(h)
    lora = layers.Dense(WIDTH, name="lora")
    h = lora(h)[:, :, None]
    h = layers.MultiHeadAttention(2, 8, attention_axes=(1, 2), name="axes")(h, h)
    model = keras.Model(x, layers.Reshape(SEQUENCES.shape[1:])(h))
    lora.enable_lora(2)
    report = plan_quantization(model)
    assert {row.path: row.reason for row in report.left} == {
        "own": "OwnDense is a Dense that its class may have changed",
        "lstm/lstm_cell": "LSTMCell has no Quant form",
        "lora": "LoRA is on, which changes its weights as they are used",
        "axes": "inputs of rank other than 3 are computed in float",
    }
    assert [row.path for row in report.replaced] == ["plain"]
    text = report.to_text()
    assert "1 of 5 layers are replaced" in text
    assert "LSTMCell has no Quant form" in text
    quant = quantize_model(model)
    assert quant.quantization_report == report
    near(outputs(quant, SEQUENCES), outputs(model, SEQUENCES), 1e-5)


class Cell(layers.Layer):
    """A recurrent cell with a layer inside, which runs in a loop."""

    def __init__(self):
        super().__init__(name="cell")
        self.state_size = self.output_size = 6
        self.dense = layers.Dense(6, activation="tanh", name="dense")

    def build(self, shape):
        self.dense.build((shape[0], shape[-1] + 6))

    def call(self, x, states):
        h = self.dense(keras.ops.concatenate([x, states[0]], -1))
        return h, [h]


def test_wrappers_and_cells_are_looked_into_and_have_no_rows_of_what_they_wrap():
    x = keras.Input(SEQUENCES.shape[1:])
    h = layers.SpectralNormalization(layers.Dense(8, name="inside"), name="around")(x)
    model = keras.Model(x, layers.RNN(Cell())(h))
    quant = calibrated(quantize_model(model), SEQUENCES)
    assert [row.path.rpartition("/")[2] for row in quant.quantization_report.rows] == [
        "inside",
        "dense",
    ]
    assert quant.get_layer("around").kernel is quant.get_layer("around").layer.kernel
    int8 = convert(quant)
    assert [row.precision for row in int8.conversion_report.rows] == ["int8", "int8"]
    near(outputs(int8, SEQUENCES), outputs(model, SEQUENCES), 0.05)


def test_a_model_from_a_file_is_quantized_as_the_one_that_was_saved(tmp_path):
    inputs = keras.Input((WIDTH,))
    model = keras.Model(inputs, layers.Dense(3)(layers.Dense(8, activation="gelu")(inputs)))
    model.save(tmp_path / "model.keras")
    quant = quantize_model(keras.saving.load_model(tmp_path / "model.keras"))
    assert len(quant.quantization_report.replaced) == 2
    np.testing.assert_allclose(quant(ROWS), model(ROWS), atol=1e-6)


def test_models_without_anything_to_replace_are_refused_with_the_reasons():
    own = keras.Sequential([keras.Input((WIDTH,)), OwnDense(3, name="own")], name="mine")
    with pytest.raises(ConversionError, match=r"'mine' has no layer to replace:\n  mine/own: Own"):
        quantize_model(own)
    assert not plan_quantization(own).replaced
    done = keras.Sequential([keras.Input((WIDTH,)), QuantDense(3)])
    with pytest.raises(ConversionError, match="it has Quant layers already"):
        quantize_model(done)
    with pytest.raises(ConversionError, match="has no weights yet; build or call it first"):
        quantize_model(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ConversionError, match=r"takes a Keras model; received a Dense"):
        quantize_model(layers.Dense(3))
    with pytest.raises(ConversionError, match=r"build_transformer\(quant=True\)"):
        quantize_model(build_transformer(source_vocabulary_size=9, model_dim=8, num_heads=1,
            num_encoder_layers=1, num_decoder_layers=1, ffn_dim=8, max_length=4))  # fmt: skip


def test_layers_that_keras_has_quantized_are_left():
    model, _ = MODELS["mlp"]()
    model.layers[0].quantize("int8")
    left = plan_quantization(model).left
    assert [row.reason for row in left] == ["Keras' own int8 quantization is on"]


class Scaled(layers.Layer):
    """One of two layers is called with a name that the other has, too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [layers.Dense(WIDTH, name="same"), layers.Dense(WIDTH, name="same")]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def test_layers_of_one_path_have_rows_and_choices_of_their_own():
    x = keras.Input((WIDTH,))
    model = keras.Model(x, Scaled(name="scaled")(x))
    assert len({part.path for part in model.layers[1].parts}) == 1
    quant = quantize_model(model)
    paths = [row.path for row in quant.quantization_report.rows]
    assert len(set(paths)) == 2
    assert [part.path for part in quant.layers[1].parts] == paths
    int8 = convert(calibrated(quant, ROWS), policy={paths[1]: "float32"})
    assert [row.precision for row in int8.conversion_report.rows] == ["int8", "float32"]
    # A model of Quant layers that was made by hand, whose paths nobody made unique.
    for part in quant.layers[1].parts:
        part._path = paths[0]
    int8 = convert(quant, policy={f"{paths[0]}_1": "float32"})
    rows = int8.conversion_report.rows
    assert [(row.name, row.precision) for row in rows] == [
        (paths[0], "int8"),
        (f"{paths[0]}_1", "float32"),
    ]
    assert [type(part).__name__ for part in int8.layers[1].parts] == ["Int8Dense", "FloatDense"]


def test_a_sample_measures_products_inside_of_users_layers():
    model, x = MODELS["backbone"]()
    int8 = convert(calibrated(quantize_model(model), x), sample=x)
    assert all(row.output_sqnr_db > 15 for row in int8.conversion_report.rows)


def test_a_relu_inside_of_a_users_layer_is_seen_by_the_paper_policy():
    model, x = MODELS["backbone"]()
    int8 = convert(calibrated(quantize_model(model), x), policy="paper")
    reasons = [row.reason for row in int8.conversion_report.rows]
    assert reasons.count("policy: paper, sparse input") == 1
    assert reasons.count("policy: paper, product of two tensors") == 2


LOAD = """
import sys
import keras, numpy as np
import keras_int8nmt
model = keras.saving.load_model(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], model(x))
print(*sorted({type(layer).__name__ for layer in model._flatten_layers()}))
"""


@pytest.mark.slow
def test_plain_keras_models_load_in_a_fresh_process(tmp_path):
    model, x = MODELS["vision transformer"]()
    quant = calibrated(quantize_model(model), x)
    np.save(tmp_path / "x.npy", x)
    for saved, kind in ((quant, "QuantAttention"), (convert(quant), "Int8Attention")):
        saved.save(tmp_path / "model.keras")
        files = [str(tmp_path / name) for name in ("model.keras", "x.npy", "y.npy")]
        done = subprocess.run(
            [sys.executable, "-c", LOAD, *files], capture_output=True, text=True, check=True
        )
        assert kind in done.stdout
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), saved(x), atol=1e-6)


def test_plain_keras_models_are_saved_calibrated_and_converted(tmp_path):
    for name in ("time distributed", "bidirectional"):
        model, x = MODELS[name]()
        quant = calibrated(quantize_model(model), x)
        for saved in (quant, convert(quant)):
            saved.save(tmp_path / "model.keras")
            again = keras.saving.load_model(tmp_path / "model.keras")
            for a, b in zip(outputs(again, x), outputs(saved, x), strict=True):
                np.testing.assert_array_equal(a, b)
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert any(isinstance(one, FrozenLayer) for one in layers_of(loaded))


@pytest.mark.parametrize("name", ["keras tutorial", "backbone", "tensorflow tutorial"])
def test_layers_whose_configuration_would_lose_the_exchange_say_so_when_saved(name, tmp_path):
    quant = quantize_model(MODELS[name]()[0])
    for saved in (quant, convert(quant, activations="dynamic")):
        with pytest.raises(ConversionError, match=r"get_config\(\) does not tell of the layers"):
            saved.save(tmp_path / "model.keras")
        # And for who makes another of its configuration.
        with pytest.raises(ConversionError, match="would have plain ones again"):
            next(one for one in layers_of(saved) if "get_config" in vars(one)).get_config()


def test_calibrated_weights_are_saved_without_a_configuration(tmp_path):
    """What the error of the test above says is to be done."""
    model, x = MODELS["backbone"]()
    quant = calibrated(quantize_model(model), x)
    quant.save_weights(tmp_path / "calibrated.weights.h5")
    again = quantize_model(MODELS["backbone"]()[0])
    again.load_weights(tmp_path / "calibrated.weights.h5")
    for a, b in zip(outputs(convert(again), x), outputs(convert(quant), x), strict=True):
        np.testing.assert_array_equal(a, b)


@keras.saving.register_keras_serializable(package="tests")
class Telling(layers.Layer):
    """Its configuration tells of the layer inside."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config.pop("inner"))
        return cls(inner, **config)


def test_layers_that_tell_of_what_they_hold_are_saved(tmp_path):
    x = keras.Input((WIDTH,))
    model = keras.Model(x, Telling(layers.Dense(3))(x))
    quant = calibrated(quantize_model(model), ROWS)
    for saved in (quant, convert(quant)):
        saved.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert type(again.layers[1].inner) is type(saved.layers[1].inner)
        np.testing.assert_array_equal(again(ROWS), saved(ROWS))


class Asked(layers.Layer):
    """Wants what INT8 does not give."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 8, name="attention")
        self.dense = layers.Dense(3, name="dense")

    def call(self, x):
        x, scores = self.attention(x, x, return_attention_scores=True)
        return self.dense(x) + keras.ops.sum(scores)


def test_a_layer_in_a_users_layer_that_stays_float_is_in_the_report_with_its_reason():
    x = keras.Input(SEQUENCES.shape[1:])
    model = keras.Model(x, Asked(name="asked")(x))
    quant = calibrated(quantize_model(model), SEQUENCES)
    int8 = convert(quant)
    reasons = {row.name: row.reason for row in int8.conversion_report.rows}
    assert reasons.pop("asked/dense") == ""
    assert len(reasons) == 6
    assert all(name.startswith("asked/attention/") for name in reasons)
    assert set(reasons.values()) == {"return_attention_scores is computed in float"}
    near(outputs(int8, SEQUENCES), outputs(model, SEQUENCES), 0.05)


class TiedTable(layers.Layer):
    """Multiplies by the table of its embedding, as many language models do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = layers.Embedding(9, 4, name="table")
        self.dense = layers.Dense(4, name="dense")

    def call(self, ids):
        x = self.dense(self.table(ids))
        return keras.ops.matmul(x, keras.ops.transpose(self.table.embeddings))


def test_a_users_own_product_with_a_table_finds_it_as_floats():
    ids = keras.Input((5,), dtype="int32")
    model = keras.Model(ids, TiedTable(name="tied")(ids))
    x = np.arange(10).reshape(2, 5) % 9
    quant = calibrated(quantize_model(model), x)
    simulated = outputs(model, x)
    near(outputs(convert(quant), x), simulated, 0.05)
    near(outputs(convert(quant, policy="float32"), x), simulated, 1e-5)


class PlainScale(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=(shape[-1], 3), name="table")

    def call(self, x):
        return keras.ops.matmul(x, self.table)


class TestRegisterQuantLayer:
    @pytest.fixture(autouse=True)
    def table(self, monkeypatch):
        monkeypatch.setattr(quant_table, "_QUANT_LAYERS", dict(quant_table._QUANT_LAYERS))

    def model(self):
        x = keras.Input((WIDTH,))
        return keras.Model(x, PlainScale(name="scale")(x))

    def test_one_row_joins_a_type_by_a_function(self):
        def make(layer):
            if layer.name == "never":
                raise ConversionError("never")
            new = QuantDense(3, use_bias=False, name=layer.name)
            new.build((None, WIDTH))
            new.set_weights(layer.get_weights())
            return new

        register_quant_layer(PlainScale, make)
        model = self.model()
        quant = quantize_model(model)
        assert type(quant.layers[1]) is QuantDense
        assert quant.layers[1].path == "scale"
        np.testing.assert_allclose(quant(ROWS), model(ROWS), atol=1e-5)
        model.layers[1].name = "never"
        assert [row.reason for row in plan_quantization(model).left] == ["never"]

    def test_a_type_of_another_package_goes_by_its_registered_name(self):
        keras.saving.register_keras_serializable("elsewhere", "Scale")(PlainScale)
        assert not plan_quantization(self.model()).replaced
        register_quant_layer("elsewhere>Scale", QuantAttention)
        # A class that takes another configuration is told as the reason.
        (row,) = plan_quantization(self.model()).left
        assert "can't be copied from its configuration" in row.reason

    def test_a_type_joins_once_and_with_a_quant_layer(self):
        with pytest.raises(ValueError, match="Dense has a Quant layer already"):
            register_quant_layer(layers.Dense, QuantDense)
        with pytest.raises(ValueError, match="Conv2D must be a QuantLayer"):
            register_quant_layer(PlainScale, layers.Conv2D)
