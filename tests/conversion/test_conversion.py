"""`convert`: what it makes, that it says so, and that it changes nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import (
    CONFIGURATIONS,
    calibrate_eagerly,
    functional_model,
    make_data,
    make_transformer,
)

from keras_int8nmt import (
    ConversionError,
    QuantAttention,
    QuantDense,
    convert,
    ops,
    simulate,
)
from keras_int8nmt.conversion.report import ConversionReport


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("mode", ["symmetric", "independent"])
def test_simulated_and_converted_models_agree(configuration, mode):
    """To 1e-5 of the largest logit, except where a value lies at a rounding tie."""
    model = make_transformer(mode, **configuration)
    data = make_data(seed=5)
    # Simulated weights have 8 bits, whatever this CPU multiplies fastest.
    int8 = convert(model, weight_bits=8)(data).numpy()
    simulate(model)
    simulated = model(data).numpy()
    simulate(model, enabled=False)
    differences = np.abs(simulated - int8) / np.abs(simulated).max()
    # A tie moves one code by one step, and with it all logits of the positions that see it.
    moved = np.any(differences > 1e-5, axis=-1)
    assert differences[~moved].max() <= 1e-5
    assert np.mean(moved) < 0.15
    assert differences.max() < 0.1


@pytest.mark.parametrize("mode", ["naive", "symmetric", "independent", "conjugate"])
def test_int8_logits_are_near_the_float_logits(mode):
    model = make_transformer(mode)
    data = make_data()
    exact, int8 = model(data).numpy(), convert(model)(data).numpy()
    noise = np.mean(np.square(int8 - exact)) / np.mean(np.square(exact))
    assert noise < 1e-3  # 30 dB


def test_conversion_leaves_the_float_model_as_it_was():
    model = make_transformer()
    data = make_data()
    before = [w.numpy().copy() for w in model.variables]
    logits = model(data).numpy()
    convert(model, sample=data)
    for weight, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    np.testing.assert_array_equal(model(data).numpy(), logits)


def test_the_report_lists_every_matmul_with_its_figures():
    model = make_transformer(num_encoder_layers=2, num_decoder_layers=2)
    report = convert(model, sample=make_data(seed=3)).conversion_report
    # An encoder block has 3 + 2 + 1 products in attention and 2 in the feed-forward part; a decoder
    # block has two attentions.
    assert len(report.rows) == 2 * 8 + 2 * 14 + 1
    assert report.precision == "int8"
    assert {row.kind for row in report.rows} == {"weights", "dynamic"}
    for row in report.rows:
        assert row.precision == "int8", row
        assert 25 < row.input_sqnr_db < 70, row
        assert 25 < row.output_sqnr_db < 70, row
        assert 0 <= row.clipped_mass < 0.02, row
        assert len(row.thresholds) in (2, 4), row
    assert len({row.name for row in report.rows}) == len(report.rows)
    assert ConversionReport.from_json(report.to_json()) == report
    text = report.to_text()
    assert "45 of 45 MatMuls in INT8" in text
    assert "decoder_block_1/cross_attention/QK" in text


def test_without_a_sample_there_is_no_output_sqnr():
    rows = convert(make_transformer()).conversion_report.rows
    assert all(row.output_sqnr_db is None for row in rows)


def test_an_uncalibrated_model_is_refused_with_the_paths():
    with pytest.raises(ConversionError, match=r"encoder_block_0/ffn_in/input_observer") as caught:
        convert(make_transformer(mode=None))
    assert "calibrate first" in str(caught.value)


def test_a_model_without_quant_layers_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ConversionError, match="no layer to convert"):
        convert(model)


def test_a_subclassed_model_converts_with_its_own_call():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = QuantDense(2)

        def call(self, x):
            return self.dense(x)

    model = Own()
    x = np.ones((2, 3), np.float32)
    model(x)
    calibrate_eagerly(model, x)
    int8 = convert(model)
    assert type(int8) is Own
    assert int8.conversion_report.precision == "int8"
    np.testing.assert_allclose(int8(x), model(x), atol=0.05)


def test_functional_models_are_rebuilt_and_say_what_stayed_float():
    model = functional_model()
    ids = np.random.default_rng(0).integers(0, 20, (32, 6)).astype(np.int32)
    calibrate_eagerly(model, ids, "independent")
    int8 = convert(model, sample=ids)
    exact, quantized = model.predict(ids, verbose=0), int8.predict(ids, verbose=0)
    assert np.mean(np.square(exact - quantized)) < 3e-3 * np.mean(np.square(exact))
    report = int8.conversion_report
    assert report.precision == "mixed"
    floats = [row for row in report.rows if row.precision == "float32"]
    assert [row.reason for row in floats] == ["Dense is plain: quantize_model did not replace it"]
    kinds = [type(layer).__name__ for layer in int8.layers]
    assert "Int8Embedding" in kinds
    assert "Int8Attention" in kinds
    assert kinds.count("Int8Dense") == 2


def test_a_layer_that_int8_cannot_do_stays_float_and_is_listed():
    x = keras.Input((5, 8))
    flat = QuantDense(8)(x)
    scores = QuantAttention(2, 4, name="looked_at")
    out, probabilities = scores(flat, flat, return_attention_scores=True)
    model = keras.Model(x, [out, probabilities])
    data = np.random.default_rng(0).normal(size=(4, 5, 8)).astype(np.float32)
    calibrate_eagerly(model, data)
    int8 = convert(model)
    row = next(r for r in int8.conversion_report.rows if r.precision == "float32")
    assert "looked_at" in row.name
    assert "return_attention_scores" in row.reason
    for exact, quantized in zip(model.predict(data, verbose=0), int8(data), strict=True):
        np.testing.assert_allclose(quantized, exact, atol=0.05)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_a_saved_int8_model_gives_bit_equal_outputs(configuration, tmp_path):
    int8 = convert(make_transformer("independent", **configuration))
    data = make_data()
    int8.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(data).numpy(), int8(data).numpy(), strict=True)


def test_a_reloaded_calibrated_model_converts_to_the_same_int8_model(tmp_path):
    model = make_transformer("conjugate")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    data = make_data()
    np.testing.assert_array_equal(convert(again)(data).numpy(), convert(model)(data).numpy())


def test_an_int8_file_without_weights_for_a_layer_is_refused(tmp_path):
    int8 = convert(make_transformer())
    config = keras.saving.serialize_keras_object(int8)
    empty = keras.saving.deserialize_keras_object(config)
    with pytest.raises(ValueError, match="has no weights yet"):
        empty(make_data())


def graph_ops(function, *arguments):
    """Operation types of a traced function and of all functions that it calls."""
    graph = tf.function(function).get_concrete_function(*arguments).graph
    found = [op.type for op in graph.get_operations()]
    for inner in graph.as_graph_def().library.function:
        found.extend(node.op for node in inner.node_def)
    return found


def test_the_graph_between_int8_layers_holds_no_needless_ops():
    """Nothing is computed that calibration knows, and no layout changes between INT8 layers."""
    if not ops.native_available():
        pytest.skip("stock operations have other graphs")
    layers = 2
    int8 = convert(
        make_transformer("independent", num_encoder_layers=layers, num_decoder_layers=layers)
    )
    source = tf.TensorSpec((None, None), tf.int32)
    encode = graph_ops(lambda ids: int8.encode(ids)["memory"], source)
    forbidden = ("Min", "Requantize", "RequantizationRange", "QuantizeV2", "Transpose")
    assert not set(encode) & set(forbidden), sorted(set(encode))
    assert encode.count("Max") == 1  # of the positions of real tokens: the lengths of the sources
    assert "Reshape" not in encode
    assert encode.count("KerasInt8nmtMatMul") == 4 * layers  # QKV is one product
    assert encode.count("KerasInt8nmtAttention") == layers
    assert encode.count("KerasInt8nmtLayerNorm") == 2 * layers
    assert encode.count("KerasInt8nmtQuantize") == 1  # of the embeddings

    encoded = int8.encode(tf.constant(make_data()["source"]))
    cache = int8.start_cache(encoded, 4, 8)
    tokens = tf.ones((16, 4), tf.int32)
    step = graph_ops(lambda t, c: int8.decode_step(t, tf.constant(0), c), tokens, cache)
    assert not set(step) & {*forbidden, "Max"}, sorted(set(step))
    assert step.count("Reshape") <= 1  # of the logits
    assert step.count("KerasInt8nmtMatMul") == 6 * layers + 1
    assert step.count("KerasInt8nmtCacheAppend") == 2 * layers
    assert step.count("KerasInt8nmtQuantize") == 1


def test_step_by_step_equals_all_at_once():
    int8 = convert(make_transformer())
    data = make_data(batch=3)
    everything = int8(data).numpy()
    encoded = int8.encode(tf.constant(data["source"]))
    cache = int8.start_cache(encoded, 1, 2)
    for t in range(7):
        if t % 2 == 0 and t:
            cache = int8.grow_cache(cache, t + 2)
        tokens = tf.constant(data["target"][:, t : t + 1])
        logits, cache = int8.decode_step(tokens, tf.constant(t), cache)
        np.testing.assert_allclose(logits.numpy(), everything[:, t], atol=1e-6, rtol=1e-6)
