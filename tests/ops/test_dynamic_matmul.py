"""Products whose rows have scales of their own: NumPy, native and stock give the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt.ops import (
    functions as ops,
)
from keras_int8nmt.ops import stock as stock_ops
from keras_int8nmt.quantization import (
    LEAST_ROW_MAXIMUM,
    dynamic_matmul,
    inverse_weight_scales,
    quantize_rows,
    quantize_weights,
)

F = np.float32
SHAPES = [((1, 1), 1), ((3, 17), 5), ((2, 5, 64), 33), ((129, 96), 64), ((7, 1025), 8), ((0, 8), 4)]


@pytest.fixture(params=["eager", "graph"])
def run(request):
    """Calls a function eagerly or inside a `tf.function`, whose optimizer may rearrange it."""
    return (lambda f, x: f(x)) if request.param == "eager" else (lambda f, x: tf.function(f)(x))


def problem(shape, n, seed=0):
    """Rows of all sizes, with one of zeros; weights, and a bias."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 6, (*shape[:-1], 1))
    if x.size:
        x.reshape(-1, shape[-1])[-1] = 0
    kernel, scale = quantize_weights(rng.normal(0, 0.3, (shape[-1], n)))
    return x.astype(F), kernel, scale, rng.normal(size=n).astype(F)


def product(kernel, scale, bias, activation="none"):
    def compute(x):
        packed = ops.pack_weights(kernel)
        return ops.dynamic_matmul(
            x, packed, inverse_weight_scales(scale), bias, activation=activation
        )

    return compute


@pytest.mark.parametrize(("shape", "n"), SHAPES)
def test_every_back_end_gives_the_bits_of_the_reference(path, run, shape, n):
    x, kernel, scale, bias = problem(shape, n)
    expected = dynamic_matmul(x, kernel, scale, bias)
    y = run(product(kernel, scale, bias), tf.constant(x))
    np.testing.assert_array_equal(y.numpy(), expected, strict=True)
    rectified = run(product(kernel, scale, bias, "relu"), tf.constant(x))
    np.testing.assert_array_equal(rectified.numpy(), np.maximum(expected, 0), strict=True)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "swish"])
def test_other_activations_are_equal_on_both_paths_and_near_their_formulas(activation, monkeypatch):
    x, kernel, scale, bias = problem((40, 32), 20)
    compute = product(kernel, scale, bias, activation)
    active = compute(x).numpy()
    y = dynamic_matmul(x, kernel, scale, bias).astype(np.float64)
    exact = {
        "gelu": lambda: tf.nn.gelu(y).numpy(),
        "gelu_tanh": lambda: tf.nn.gelu(y, approximate=True).numpy(),
        "swish": lambda: y * tf.sigmoid(y).numpy(),
    }[activation]()
    np.testing.assert_allclose(active, exact, atol=5e-7, rtol=2e-6)
    monkeypatch.setattr(ops, "_backend", lambda: stock_ops)
    np.testing.assert_array_equal(active, compute(x).numpy())


def test_a_row_that_is_not_finite_gives_nan_and_touches_no_other(path, run):
    x, kernel, scale, bias = problem((6, 40), 7)
    expected = dynamic_matmul(x, kernel, scale, bias)
    x[0, 3], x[2, 0], x[3, 39] = np.nan, np.inf, -np.inf
    y = run(product(kernel, scale, bias), tf.constant(x)).numpy()
    assert np.isnan(y[[0, 2, 3]]).all()
    np.testing.assert_array_equal(y, dynamic_matmul(x, kernel, scale, bias))
    np.testing.assert_array_equal(y[[1, 4, 5]], expected[[1, 4, 5]])


def test_a_row_too_small_for_a_scale_gives_the_bias(path, run):
    x, kernel, scale, bias = problem((3, 24), 5)
    x[0], x[1] = LEAST_ROW_MAXIMUM, np.nextafter(LEAST_ROW_MAXIMUM, F(1))
    y = run(product(kernel, scale, bias), tf.constant(x)).numpy()
    np.testing.assert_array_equal(y, dynamic_matmul(x, kernel, scale, bias))
    np.testing.assert_array_equal(y[[0, 2]], [bias, bias])
    assert quantize_rows(x)[0][1].tolist() == [127] * 24


def test_codes_are_the_nearest_steps_of_a_rows_own_largest_value():
    x = np.float32([[127, -63.5, 0.5, 1.5], [2, -1, 0, 0.25], [-3e38, 3e38, 1e38, 0]])
    codes, inverses = quantize_rows(x)
    # Halves go to even codes.
    np.testing.assert_array_equal(codes[0], [127, -64, 0, 2])
    np.testing.assert_array_equal(codes[1], [127, -64, 0, 16])
    np.testing.assert_array_equal(codes[2], [-127, 127, 42, 0])
    np.testing.assert_allclose(inverses, [[1], [2 / 127], [3e38 / 127]], rtol=1e-6)
    assert codes.dtype == np.int8
    assert inverses.dtype == np.float32


def test_the_result_is_near_the_float_product():
    x, kernel, scale, bias = problem((50, 256), 64)
    weights = kernel / scale
    exact = x.astype(np.float64) @ weights
    noise = dynamic_matmul(x, kernel, scale, 0 * bias) - exact
    # Each of 256 inputs is off by at most half a step: in their sum by far less than 2 %.
    size = np.sqrt(np.mean(exact**2, axis=1))
    assert (np.sqrt(np.mean(noise**2, axis=1)) <= 0.02 * size).all()


def test_a_row_gets_the_same_bits_alone_and_among_others(path):
    x, kernel, scale, bias = problem((33, 70), 19)
    compute = product(kernel, scale, bias)
    together = compute(x).numpy()
    for i in (0, 13, 32):
        np.testing.assert_array_equal(compute(x[i : i + 1]).numpy()[0], together[i])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((2, 3), np.int8)}, TypeError, "`x` must be of dtype float32"),
        ({"x": F(1)}, ValueError, "`x` must have rank 1 or more"),
        ({"bias": np.zeros(2)}, TypeError, "`bias` must be of dtype float32"),
        ({"scales": np.ones((1, 2), F)}, ValueError, "`scales` must have rank 1"),
        ({"activation": "tanh"}, ValueError, "`activation` must be one of none, relu"),
    ],
)
def test_wrong_arguments_are_named(path, change, error, message):
    arguments = {
        "x": np.ones((2, 3), F),
        "packed": ops.pack_weights(np.ones((3, 2), np.int8)),
        "scales": np.ones(2, F),
        "bias": np.zeros(2, F),
        **change,
    }
    with pytest.raises(error, match=message):
        ops.dynamic_matmul(**arguments)


@pytest.mark.parametrize(
    "change", [{"x": np.ones((2, 4), F)}, {"scales": np.ones(3, F)}, {"bias": np.zeros(1, F)}]
)
def test_shapes_that_do_not_fit_are_refused(path, change):
    packed = ops.pack_weights(np.ones((3, 2), np.int8))
    arguments = {"x": np.ones((2, 3), F), "scales": np.ones(2, F), "bias": np.zeros(2, F)}
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        ops.dynamic_matmul(packed=packed, **{**arguments, **change})
