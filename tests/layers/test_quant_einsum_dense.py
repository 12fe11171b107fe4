"""`QuantEinsumDense` against `keras.layers.EinsumDense`: every equation, its states, its INT8."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from helpers.layer_contract import assert_same_signature, check_layer, copy_weights

from keras_int8nmt import ConversionError, convert, native, prepare_training
from keras_int8nmt.conversion.bias_correction import corrected_bias
from keras_int8nmt.layers.inference.frozen_einsum_dense import FrozenEinsumDense
from keras_int8nmt.layers.model_state import set_state, settle
from keras_int8nmt.layers.quant_einsum_dense import QuantEinsumDense
from keras_int8nmt.quantization import dequantize, quantize, quantize_weights

RNG = np.random.default_rng(0)
X2, X3, X4 = (RNG.normal(size=(4, 3, 2, 6)[-rank:]).astype(np.float32) for rank in (2, 3, 4))

# equation, output shape, bias axes, input
ONE_PRODUCT = {
    "dense": ("ab,bc->ac", 5, "c", X2),
    "sequence": ("abc,cd->abd", (None, 5), "d", X3),
    "projection": ("abc,cde->abde", (None, 2, 4), "de", X3),
    "output": ("abcd,cde->abe", (None, 5), "e", X4),
    "without a bias": ("abcd,cde->abe", (None, 5), None, X4),
    "dots before": ("...x,xy->...y", 5, "y", X4),
    "dots after": ("ab...,bc->ac...", 5, "c", X4),
    "kernel transposed": ("abc,dc->abd", (None, 5), "d", X3),
    "kernel in another order": ("abcd,dec->abe", (None, 5), "e", X4),
    "an axis in the middle": ("abc,bd->adc", (5, None), "d", X3),
    # Of 3 entries: one of as many as the output's second axis Keras adds to that axis.
    "a bias of one of two axes": ("abc,cde->abde", (None, 3, 4), "d", X3),
    "a bias of a row's axis": ("abc,cd->abd", (2, 5), "bd", X3),
}
NOT_ONE = {
    "batched": ("abc,acd->abd", (None, 5), X3, "a kernel for each entry"),
    "heads apart": ("abcd,cde->abce", (None, 2, 5), X4, "a kernel for each entry"),
    "outer": ("ab,cd->abcd", (None, 2, 3), X2, "sums over no axis"),
    "an axis of one side": ("abc,cd->ad", 5, X3, "sums over an axis of one side"),
}


def pair(equation, shape, bias_axes, x, **options):
    keras.utils.set_random_seed(0)
    options = {"bias_initializer": "normal", **options}
    ours, parent = (
        layer(equation, shape, bias_axes=bias_axes, **options)
        for layer in (QuantEinsumDense, keras.layers.EinsumDense)
    )
    ours(x), parent(x)
    copy_weights(parent, ours)
    return ours, parent


def model_of(layer, x):
    symbol = keras.Input(x.shape[1:])
    return keras.Model(symbol, layer(symbol))


def calibrated(layer, x):
    model = model_of(layer, x)
    set_state(model, "observing")
    model(x)
    set_state(model, "float")
    settle(model, "independent")
    return model


def test_passes_the_layer_contract(tmp_path):
    init = {"equation": "abc,cde->abde", "output_shape": (2, 2, 4), "bias_axes": "de"}
    check_layer(QuantEinsumDense, init, lambda layer: layer(X3), [X3], (3, 2, 2, 4), tmp_path)


def test_has_the_signature_of_einsum_dense():
    assert_same_signature(QuantEinsumDense.__init__, keras.layers.EinsumDense.__init__)
    assert_same_signature(QuantEinsumDense.call, keras.layers.EinsumDense.call)


@pytest.mark.parametrize("name", [*ONE_PRODUCT, *NOT_ONE])
def test_gives_what_einsum_dense_gives_until_told_otherwise(name):
    if name in NOT_ONE:
        equation, shape, x, _ = NOT_ONE[name]
        ours, parent = pair(equation, shape, None, x, activation="gelu")
    else:
        ours, parent = pair(*ONE_PRODUCT[name], activation="gelu")
        x = ONE_PRODUCT[name][-1]
    np.testing.assert_array_equal(ours(x), parent(x))
    symbol = keras.KerasTensor(x.shape)
    assert ours(symbol).shape == parent(symbol).shape


@pytest.mark.parametrize(
    "options",
    [
        {"lora_rank": 2},
        {"kernel_regularizer": "l2", "activity_regularizer": "l2"},
        {"dtype": "mixed_bfloat16"},
        {"dtype": "float64"},
    ],
)
def test_options_are_the_parents(options):
    ours, parent = pair(*ONE_PRODUCT["projection"], **options)
    if "lora_rank" in options:
        ours._kernel.assign(parent._kernel)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(ours(X3)), keras.ops.convert_to_numpy(parent(X3))
    )
    assert len(ours.losses) == len(parent.losses)


@pytest.mark.parametrize("name", NOT_ONE)
def test_an_equation_that_is_no_product_says_so_and_stays_float(name):
    equation, shape, x, reason = NOT_ONE[name]
    layer = QuantEinsumDense(equation, shape)
    assert reason in layer.unsupported_reasons()[0]
    model = keras.Sequential([keras.Input(batch_shape=x.shape), layer])
    with pytest.raises(ConversionError, match="no layer to convert"):
        convert(model, activations="dynamic")


def test_does_not_observe_masked_positions():
    embedding = keras.layers.Embedding(10, 6, mask_zero=True)
    ids = np.array([[3, 4, 0, 0], [5, 0, 0, 0]])
    for equation, shape in (("abc,cd->abd", (None, 5)), ("abc,bd->adc", (5, None))):
        layer = QuantEinsumDense(equation, shape)
        with warnings.catch_warnings():
            # The parent destroys masks, and Keras says so.
            warnings.filterwarnings("ignore", message=".*does not support masking")
            layer(embedding(ids))
            layer.input_observer.set_switch(1)
            layer(embedding(ids))
        assert layer.input_observer.to_histogram().total == 3 * 6


@pytest.mark.parametrize("name", ONE_PRODUCT)
def test_int8_computes_what_numpy_does_and_the_simulation_shows_it(name, tmp_path):
    equation, shape, bias_axes, x = ONE_PRODUCT[name]
    layer, _ = pair(equation, shape, bias_axes, x, activation="relu")
    model = calibrated(layer, x)
    int8 = convert(model)
    (row,) = int8.conversion_report.rows
    assert (row.name, row.precision) == (layer.path, "int8")
    assert type(int8.layers[-1]) is FrozenEinsumDense

    product, params = layer.product, layer.input_observer.params()
    kernel = np.asarray(layer.kernel)
    codes, scale = quantize_weights(product.matrix(kernel), True, native.weight_bits())
    coarse = codes.astype(np.float32) / scale
    summed = [kernel.shape[i] for i in product.kernel_order[: len(product.summed)]]
    coarse = coarse.reshape(*summed, *layer.column_shape)
    coarse = coarse.transpose(np.argsort(product.kernel_order))
    expected = np.einsum(product.equation, dequantize(quantize(x, params), params), coarse)
    expected = np.maximum(expected + (0.0 if layer.bias is None else np.asarray(layer.bias)), 0.0)
    result = int8(x).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert 0 < np.abs(result - model(x).numpy()).max() < 0.05
    set_state(model, "simulating")
    np.testing.assert_allclose(model(x), expected, atol=1e-5)

    int8.save(tmp_path / "int8.keras")
    again = keras.models.load_model(tmp_path / "int8.keras")
    np.testing.assert_array_equal(again(x), result)
    assert again.layers[-1].compute_output_spec(keras.KerasTensor(x.shape)).shape == result.shape


@pytest.mark.parametrize("name", ["projection", "an axis in the middle", "a bias of a row's axis"])
@pytest.mark.parametrize("options", [{"activations": "dynamic"}, {"policy": "float32"}])
def test_dynamic_scales_and_float_products(name, options):
    equation, shape, bias_axes, x = ONE_PRODUCT[name]
    layer, parent = pair(equation, shape, bias_axes, x, activation="tanh")
    model = calibrated(layer, x)
    tolerance = 1e-6 if "policy" in options else 0.03
    np.testing.assert_allclose(convert(model, **options)(x), parent(x), atol=tolerance)


@pytest.mark.parametrize("name", ["output", "kernel in another order", "an axis in the middle"])
def test_bias_correction_knows_the_mean_of_each_entry_that_is_summed_over(name):
    equation, shape, _, x = ONE_PRODUCT[name]
    layer, _ = pair(equation, shape, None, x)
    model = calibrated(layer, x)
    moved = convert(model, bias_correction=True)(x).numpy() - convert(model)(x).numpy()
    product = layer.product
    kernel = product.matrix(layer.kernel.numpy())
    means = x.transpose(product.input_order).reshape(-1, kernel.shape[0]).mean(0)
    expected = corrected_bias(kernel, None, means, weight_bits=native.weight_bits())
    assert np.abs(expected).max() > 1e-4
    axis = product.equation.split("->")[1].index(product.columns)
    expected = np.moveaxis(np.broadcast_to(expected, (*np.delete(moved.shape, axis), 5)), -1, axis)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_a_converted_layer_keeps_its_dtype_policy(dtype):
    layer, parent = pair(*ONE_PRODUCT["a bias of a row's axis"], dtype=dtype)
    result = convert(calibrated(layer, X3))(X3)
    assert result.dtype == parent(X3).dtype
    exact = keras.ops.convert_to_numpy(keras.ops.cast(parent(X3), "float32"))
    np.testing.assert_allclose(keras.ops.cast(result, "float32"), exact, atol=0.06)


def test_batches_of_no_rows_pass():
    layer, _ = pair(*ONE_PRODUCT["output"])
    assert convert(calibrated(layer, X4))(X4[:0]).shape == (0, 3, 5)


def test_thresholds_train_and_are_saved(tmp_path):
    layer, _ = pair(*ONE_PRODUCT["projection"])
    model = calibrated(layer, X3)
    prepare_training(model, threshold_rate=10.0)
    model.compile("adam", "mse", run_eagerly=True)
    before = layer.input_observer.thresholds()
    model.fit(X3, np.zeros((3, 2, 2, 4)), epochs=2, verbose=0)
    learned = layer.input_observer.thresholds()
    assert learned != before
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[-1].input_observer.thresholds() == learned
