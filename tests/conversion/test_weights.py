"""How weights become int8: scales by channel or by tensor, and the correction of biases."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.models import CONFIGURATIONS, calibrate_eagerly, make_data, make_transformer

from keras_int8nmt import ConversionError, QuantDense, Translator, convert
from keras_int8nmt.conversion.bias_correction import corrected_bias
from keras_int8nmt.quantization import dequantize, quantize, quantize_weights

RNG = np.random.default_rng(0)
RECIPES = [
    {"weights": "per_tensor"},
    {"bias_correction": True},
    {"weights": "per_tensor", "bias_correction": True},
]


def dense_model(bias=True):
    """One dense layer, calibrated on inputs that are not centred."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), QuantDense(6, use_bias=bias)])
    x = (RNG.normal(size=(200, 16)) + RNG.normal(size=16) * 3).astype(np.float32)
    calibrate_eagerly(model, x, "naive")
    return model, x


# ---- scales ----


def test_per_tensor_is_one_scale_for_each_kernel_and_table():
    int8 = convert(make_transformer(), weights="per_tensor")
    block = int8.decoder_blocks[0]
    attention = block.self_attention
    for layer, product in (
        (block.ffn_out, block.ffn_out.matmul),
        (int8.output_projection, int8.output_projection.matmul),
        (attention, attention.products["attention_output"]),
    ):
        assert len(set(product.scales.numpy().tolist())) == 1, layer
    # Query, key and value lie in one product and keep a scale each.
    scales = attention.products["query_key_value"].scales.numpy().reshape(3, -1)
    assert np.all(scales == scales[:, :1])
    assert len(np.unique(scales)) == 3
    assert len(set(int8.source_embedding.inv_scales.numpy().tolist())) == 1
    codes = int8.source_embedding.table.numpy()
    np.testing.assert_array_equal(codes, int8.output_projection.matmul.kernel().T)


def test_the_weights_are_those_that_the_reference_quantizes():
    model, x = dense_model()
    layer = model.layers[0]
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    params = layer.input_observer.params()
    for weights in ("per_channel", "per_tensor"):
        codes, scale = quantize_weights(kernel, weights == "per_channel")
        expected = dequantize(quantize(x, params), params) @ (codes / scale) + bias
        np.testing.assert_allclose(
            convert(model, weights=weights)(x), expected, atol=1e-5 * np.abs(expected).max()
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "per_row"}, "'per_channel' or 'per_tensor'; received 'per_row'"),
        ({"bias_correction": 1}, "`bias_correction` must be True or False; received 1"),
    ],
)
def test_other_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        convert(make_transformer(), **arguments)


# ---- bias correction ----


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_corrected_bias_gives_the_mean_of_the_float_product(per_channel):
    kernel = RNG.normal(size=(8, 5)).astype(np.float32)
    bias = RNG.normal(size=5).astype(np.float32)
    x = RNG.normal(size=(100, 8)) + RNG.normal(size=8)
    codes, scale = quantize_weights(kernel, per_channel)
    rounded = codes / scale.astype(np.float64)
    corrected = corrected_bias(kernel, bias, x.mean(axis=0), per_channel=per_channel)
    error = np.mean(x @ rounded + corrected - (x @ kernel + bias), axis=0)
    np.testing.assert_allclose(error, 0, atol=1e-6)
    before = np.mean(x @ rounded - x @ kernel, axis=0)
    assert np.abs(before).max() > 1e-3
    # No bias counts as zeros.
    without = corrected_bias(kernel, None, x.mean(axis=0), per_channel=per_channel)
    np.testing.assert_allclose(without + bias, corrected, atol=1e-6)


def test_weights_without_rounding_error_leave_the_bias_as_it_is():
    kernel = np.array([[127.0, 4.0], [-3.0, 127.0]], np.float32)
    bias = np.array([0.1, -0.2], np.float32)
    np.testing.assert_array_equal(corrected_bias(kernel, bias, np.array([5.0, 7.0])), bias)


def test_means_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\).*have shape \(3,\)"):
        corrected_bias(np.ones((2, 4), np.float32), None, np.zeros(3))


@pytest.mark.parametrize("bias", [True, False])
def test_conversion_corrects_by_what_calibration_saw(bias):
    model, x = dense_model(bias)
    layer = model.layers[0]
    expected = corrected_bias(
        layer.kernel.numpy(), layer.bias.numpy() if bias else None, x.mean(axis=0)
    )
    plain, corrected = convert(model), convert(model, bias_correction=True)
    params = layer.input_observer.params()
    shift = corrected.layers[0].matmul.bias.numpy() - plain.layers[0].matmul.bias.numpy()
    given = layer.bias.numpy() if bias else 0.0
    np.testing.assert_allclose(shift, expected - given, atol=1e-5)
    assert np.abs(shift).max() > 1e-3
    # What is left of the mean error comes from the input.
    left = np.mean(np.asarray(corrected(x)) - np.asarray(model(x)), axis=0)
    rounding = np.mean(dequantize(quantize(x, params), params) - x, axis=0)
    assert np.abs(left).max() < 0.3 * np.abs(shift).max() + np.abs(rounding).sum()


def test_every_int8_product_of_a_transformer_is_corrected_and_no_float_one():
    model = make_transformer()
    policy = {"transformer/encoder_block_0/ffn_in": "float32"}
    plain, corrected = (convert(model, policy=policy, bias_correction=c) for c in (False, True))

    def biases(converted):
        found = {"output": converted.output_projection.matmul.bias}
        for block in (*converted.encoder_blocks, *converted.decoder_blocks):
            for name in block.attentions:
                for group, product in getattr(block, name).products.items():
                    found[f"{block.name}/{name}/{group}"] = product.bias
            for layer in (block.ffn_in, block.ffn_out):
                found[f"{block.name}/{layer.name}"] = (
                    layer.matmul.bias if layer.precision == "int8" else layer.bias
                )
        return found

    before, after = biases(plain), biases(corrected)
    assert len(before) == 12
    for name, bias in before.items():
        changed = bool(np.any(bias.numpy() != after[name].numpy()))
        assert changed == (name != "encoder_block_0/ffn_in"), name


def test_correction_brings_the_logits_closer_where_weights_are_coarse():
    model, data = make_transformer("independent"), make_data()
    reference = np.asarray(model(data))

    def shift(**options):
        return np.abs(np.mean(np.asarray(convert(model, **options)(data)) - reference, (0, 1)))

    coarse = shift(weights="per_tensor").mean()
    assert shift(weights="per_tensor", bias_correction=True).mean() < 0.8 * coarse


def test_a_model_without_means_is_refused_with_its_layers():
    model, _ = dense_model()
    observer = model.layers[0].input_observer
    for variable in observer.channel_statistics.state_variables():
        variable.assign(np.zeros(variable.shape, variable.dtype))
    convert(model)
    with pytest.raises(ConversionError, match=r"(?s)calibrate again.*input_observer"):
        convert(model, bias_correction=True)


# ---- all paths ----


# Each recipe and each configuration once; all combinations take half a minute.
ALL_PAIRS = [
    pytest.param(recipe, configuration, marks=[pytest.mark.slow] * (i != j))
    for i, recipe in enumerate(RECIPES)
    for j, configuration in enumerate(CONFIGURATIONS[:3])
]


@pytest.mark.parametrize(("recipe", "configuration"), ALL_PAIRS, ids=str)
def test_both_paths_give_the_same_tokens_and_scores(recipe, configuration):
    int8 = convert(make_transformer("independent", **configuration), **recipe)
    source = [[int(t) for t in row if t] + [int8.eos_id] for row in make_data()["source"]]
    results = [
        Translator(int8, None, beam_size=2, max_length=10, path=path).translate_ids(source)
        for path in ("fast", "layers")
    ]
    for fast, layers in zip(*results, strict=True):
        assert [h.tokens for h in fast.hypotheses] == [h.tokens for h in layers.hypotheses]
        assert [h.score for h in fast.hypotheses] == [h.score for h in layers.hypotheses]


def test_a_converted_model_survives_saving(tmp_path):
    int8 = convert(make_transformer(), weights="per_tensor", bias_correction=True)
    int8.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(make_data()), int8(make_data()))


def test_the_report_measures_the_product_that_was_made():
    model, x = dense_model()
    found = {}
    for weights in ("per_channel", "per_tensor"):
        for corrected in (False, True):
            int8 = convert(model, sample=x, weights=weights, bias_correction=corrected)
            found[weights, corrected] = int8.conversion_report.rows[0].output_sqnr_db
    assert found["per_channel", True] > found["per_channel", False] > found["per_tensor", False]
