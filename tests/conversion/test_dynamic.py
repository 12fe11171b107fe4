"""`convert(activations="dynamic")`: INT8 of a model that nobody calibrated."""

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
    DynamicAttention,
    DynamicDense,
    FloatDense,
    Int8Embedding,
    build_transformer,
    convert,
)
from keras_int8nmt.models.plain import plain_model

ENCODER, DECODER = "transformer/encoder_block_0/", "transformer/decoder_block_0/"
FLOAT_REASON = "dynamic scales, product of two tensors"


def precisions(model):
    return {row.name: row.precision for row in model.conversion_report.rows}


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_an_uncalibrated_model_becomes_int8_near_the_float_one(configuration):
    model, data = make_transformer(mode=None, **configuration), make_data(seed=5)
    exact = plain_model(model)(data).numpy()
    dynamic = convert(model, activations="dynamic")
    noise = np.mean(np.square(dynamic(data).numpy() - exact)) / np.mean(np.square(exact))
    assert 1e-7 < noise < 1e-3
    assert isinstance(dynamic.source_embedding, Int8Embedding)
    for block in (*dynamic.encoder_blocks, *dynamic.decoder_blocks):
        assert isinstance(block.ffn_in, DynamicDense)
        assert isinstance(block.ffn_out, DynamicDense)
    assert dynamic.encoder_blocks[0].attention.groups == ("query_key_value",)
    assert dynamic.decoder_blocks[0].self_attention.groups == ("query_key_value",)
    assert dynamic.decoder_blocks[0].cross_attention.groups == ("query", "key_value")


@pytest.mark.parametrize("configuration", CONFIGURATIONS[:2], ids=str)
def test_calibration_and_quant_layers_change_nothing(configuration):
    model, data = make_transformer("independent", **configuration), make_data()
    logits = convert(model, activations="dynamic")(data).numpy()
    for other in (make_transformer(mode=None, **configuration), plain_model(model)):
        converted = convert(other, activations="dynamic")
        np.testing.assert_array_equal(converted(data).numpy(), logits)
        assert list(precisions(converted)) == list(precisions(convert(model)))


def test_the_report_says_what_is_dynamic_and_what_stayed_float():
    report = convert(make_transformer(mode=None), activations="dynamic").conversion_report
    assert report.precision == "mixed"
    for row in report.rows:
        products = row.name.endswith(("/QK", "/AV"))
        assert row.precision == ("float32" if products else "int8")
        assert row.reason == (FLOAT_REASON if products else "dynamic scales")
        assert not row.thresholds
        assert row.input_sqnr_db is row.clipped_mass is row.output_sqnr_db is None
    assert "17 of 23 MatMuls in INT8" in report.to_text()
    assert "int8 (dynamic scales)" in report.to_text()


@pytest.mark.parametrize("mode", [None, "symmetric"])
def test_a_sample_tells_the_output_sqnr_of_every_int8_product(mode):
    model = make_transformer(mode)
    rows = convert(model, activations="dynamic", sample=make_data()).conversion_report.rows
    for row in rows:
        if row.precision == "float32":
            assert row.output_sqnr_db is None, row
        else:
            assert 30 < row.output_sqnr_db < 70, row


def test_policies_leave_more_float_and_cannot_ask_for_what_has_no_scale():
    model, data = make_transformer(mode=None), make_data()
    paper = convert(model, activations="dynamic", policy="paper")
    assert precisions(paper)[ENCODER + "ffn_out"] == "float32"
    assert isinstance(paper.encoder_blocks[0].ffn_out, FloatDense)
    policy = {ENCODER + "attention/key": "float32", "output_projection": "float32"}
    some = convert(model, activations="dynamic", policy=policy)
    assert isinstance(some.encoder_blocks[0].attention, DynamicAttention)
    assert some.encoder_blocks[0].attention.groups == ("query_value", "key")
    exact = plain_model(model)(data).numpy()
    for converted in (paper, some):
        noise = np.mean(np.square(converted(data).numpy() - exact))
        assert noise < 1e-3 * np.mean(np.square(exact))
    every = convert(model, activations="dynamic", policy="float32")
    np.testing.assert_allclose(every(data).numpy(), exact, atol=1e-4)
    assert every.conversion_report.precision == "float32"
    with pytest.raises(ValueError, match=f"attention/QK' can't become INT8: {FLOAT_REASON}"):
        convert(model, activations="dynamic", policy={ENCODER + "attention/QK": "int8"})


def test_a_saved_model_gives_the_same_bits(tmp_path):
    model, data = make_transformer(mode=None, norm="pre"), make_data()
    policy = {DECODER + "cross_attention/value": "float32"}
    dynamic = convert(model, activations="dynamic", policy=policy)
    dynamic.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(data).numpy(), dynamic(data).numpy(), strict=True)
    assert again.precision == "mixed"


def test_step_by_step_equals_all_at_once():
    dynamic = convert(make_transformer(mode=None), activations="dynamic")
    data = make_data(batch=3)
    everything = dynamic(data).numpy()
    cache = dynamic.start_cache(dynamic.encode(tf.constant(data["source"])), 2, 8)
    assert {x.dtype for pair in cache["self"] + cache["cross"] for x in pair} == {tf.float32}
    swap = tf.constant([[1, 0]] * 3)
    for t in range(7):
        tokens = tf.repeat(data["target"][:, t : t + 1], 2, axis=1)
        logits, cache = dynamic.decode_step(tokens, tf.constant(t), cache)
        cache = dynamic.reorder_cache(cache, swap)
        # A code at a rounding tie may be the next one.
        differences = np.abs(logits[::2] - everything[:, t])
        assert np.mean(differences > 1e-4) < 0.35
        assert differences.max() < 0.1


def test_functional_models_are_converted_too():
    model = functional_model()
    ids = np.random.default_rng(0).integers(0, 20, (32, 6)).astype(np.int32)
    dynamic = convert(model, activations="dynamic", sample=ids)
    kinds = [type(layer).__name__ for layer in dynamic.layers]
    assert kinds.count("DynamicDense") == 2
    assert "DynamicAttention" in kinds
    exact, quantized = model.predict(ids, verbose=0), dynamic.predict(ids, verbose=0)
    assert np.mean(np.square(exact - quantized)) < 3e-3 * np.mean(np.square(exact))
    calibrate_eagerly(model, ids)
    calibrated = convert(model, activations="dynamic")
    np.testing.assert_array_equal(calibrated.predict(ids, verbose=0), quantized)


def test_what_is_not_known_or_not_there_is_refused():
    with pytest.raises(ValueError, match="must be one of 'static', 'dynamic'; received 'row'"):
        convert(make_transformer(), activations="row")
    with pytest.raises(ConversionError, match="calibrate first"):
        convert(make_transformer(mode=None))
    plain = build_transformer(
        quant=False, source_vocabulary_size=9, model_dim=8, num_heads=2, ffn_dim=8, max_length=4
    )
    with pytest.raises(ConversionError, match="no layer to convert"):
        convert(plain)
    with pytest.raises(ConversionError, match="`sample` needs a model of quant=True"):
        convert(plain, activations="dynamic", sample=make_data())
    with pytest.raises(ConversionError, match="has no weights yet"):
        convert(keras.Sequential([keras.layers.Dense(2)]), activations="dynamic")
