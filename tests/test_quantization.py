"""The number rules, on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keras_int8nmt.quantization import (
    QuantParams,
    combine_scales,
    dequantize,
    fold_bias,
    fold_output_scale,
    params_from_thresholds,
    quantize,
    quantize_weights,
)


def test_rounding_is_half_to_even_and_clips_to_the_range_of_the_type():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 200.0, -200.0], np.float32)
    int8 = quantize(x, QuantParams(np.float32(1), 0, "int8"))
    np.testing.assert_array_equal(int8, np.array([0, 2, 2, 0, -2, 127, -127], np.int8), strict=True)
    uint8 = quantize(x, QuantParams(np.float32(1), 100, "uint8"))
    np.testing.assert_array_equal(
        uint8, np.array([100, 102, 102, 100, 98, 255, 0], np.uint8), strict=True
    )


def test_special_floats_have_codes():
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 3e38], np.float32)
    codes = quantize(x, QuantParams(np.float32(10), 3, "int8"))
    np.testing.assert_array_equal(codes, [-127, 127, -127, 3, 127])


def test_zero_survives_the_round_trip_in_every_mode():
    for low, high, symmetric in ((-1.0, 3.0, False), (-1.0, 3.0, True), (0.0, 2.0, False)):
        params = params_from_thresholds(low, high, symmetric=symmetric)
        zero = np.zeros(1, np.float32)
        assert dequantize(quantize(zero, params), params)[0] == 0.0


@pytest.mark.parametrize(
    ("low", "high", "symmetric", "expected"),
    [
        (-2.0, 1.0, True, QuantParams(np.float32(63.5), 0, "int8")),
        (-1.0, 3.0, False, QuantParams(np.float32(63.75), 64, "uint8")),
        (0.0, 2.0, False, QuantParams(np.float32(127.5), 0, "uint8")),
        (-3.0, 0.0, False, QuantParams(np.float32(85), 255, "uint8")),
        (1.0, 2.0, False, QuantParams(np.float32(127.5), 0, "uint8")),
        (0.0, 0.0, True, QuantParams(np.float32(1), 0, "int8")),
        (0.0, 0.0, False, QuantParams(np.float32(1), 0, "uint8")),
    ],
)
def test_thresholds_give_scale_and_zero_point(low, high, symmetric, expected):
    assert params_from_thresholds(low, high, symmetric=symmetric) == expected


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (np.nan, 1.0), (0.0, np.inf)])
def test_impossible_thresholds_are_refused(low, high):
    with pytest.raises(ValueError, match="finite and in order"):
        params_from_thresholds(low, high, symmetric=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.float32(0), 0, "int8"), "scale"),
        ((np.float32(np.nan), 0, "int8"), "scale"),
        ((np.float32(1e-45), 0, "int8"), "scale"),
        ((np.float32(1), -1, "uint8"), "zero_point"),
        ((np.float32(1), 0, "int16"), "int16"),
    ],
)
def test_impossible_parameters_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantParams(*arguments)


def test_each_channel_uses_the_full_range_and_errs_by_at_most_half_a_step():
    weights = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    weights[:, 2] = 0
    weights[:, 3] *= 1000
    codes, scale = quantize_weights(weights)
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(np.abs(codes).max(axis=0), [127, 127, 0, 127, 127, 127])
    assert scale[2] == 1
    assert np.all(np.abs(codes / scale - weights) <= 0.5001 / scale)
    _, per_tensor = quantize_weights(weights, per_channel=False)
    np.testing.assert_array_equal(per_tensor, np.full(6, scale[3]))


def test_seven_bits_use_the_range_of_which_two_products_fit_16_bits():
    weights = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    codes, scale = quantize_weights(weights, bits=7)
    np.testing.assert_array_equal(np.abs(codes).max(axis=0), np.full(6, 63))
    assert np.all(np.abs(codes / scale - weights) <= 0.5001 / scale)
    # u8 x s8, two products added, in int16.
    assert 2 * 255 * int(np.abs(codes).max()) <= np.iinfo(np.int16).max
    with pytest.raises(ValueError, match="`bits` must be one of 8, 7; it is 6"):
        quantize_weights(weights, bits=6)


def test_weights_that_are_not_finite_or_no_matrix_are_refused():
    with pytest.raises(ValueError, match="finite"):
        quantize_weights(np.array([[np.inf]]))
    with pytest.raises(ValueError, match="shape"):
        quantize_weights(np.zeros(3))


@pytest.mark.parametrize("zero_point", [0, 37, 255])
def test_the_folded_bias_removes_the_zero_point_from_the_product(zero_point):
    rng = np.random.default_rng(1)
    params = QuantParams(np.float32(20), zero_point, "uint8")
    x = rng.integers(0, 256, (5, 30)).astype(np.uint8)
    codes, weight_scale = quantize_weights(rng.normal(size=(30, 4)).astype(np.float32))
    bias = rng.normal(size=4).astype(np.float32)
    acc = x.astype(np.int64) @ codes.astype(np.int64)
    y = acc * combine_scales(params, weight_scale).astype(np.float64)
    y = y + fold_bias(bias, codes, weight_scale, params)
    expected = dequantize(x, params).astype(np.float64) @ (codes / weight_scale) + bias
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-5)


def test_folding_the_output_scale_multiplies_scales_and_bias():
    scales, bias = np.array([0.5, 2], np.float32), np.array([1, -3], np.float32)
    folded = fold_output_scale(scales, bias, np.float32(4))
    np.testing.assert_array_equal(folded[0], np.array([2, 8], np.float32), strict=True)
    np.testing.assert_array_equal(folded[1], np.array([4, -12], np.float32), strict=True)
