"""Softmax and LayerNorm in whole numbers: native, stock and NumPy give the same bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import ops
from keras_int8nmt.ops.integer_rules import (
    integer_exp,
    integer_layer_norm,
    integer_root,
    integer_softmax,
)
from keras_int8nmt.quantization import QuantParams

F = np.float32
OUTPUTS = [None, QuantParams(F(40), 0, "int8"), QuantParams(F(30), 90, "uint8")]


@pytest.fixture(params=["eager", "graph"])
def run(request):
    """Calls a function eagerly or inside a `tf.function`."""
    return (lambda f: f()) if request.param == "eager" else (lambda f: tf.function(f)())


def step(output):
    if output is None:
        return {}
    return {
        "out_scale": float(output.scale),
        "out_zero_point": output.zero_point,
        "out_dtype": output.dtype,
    }


# ---- what the whole numbers approximate ----


def test_the_exponential_is_that_of_the_polynomial_and_falls_to_zero():
    steps = -np.arange(4000)
    powers = integer_exp(steps) / integer_exp(np.zeros(1))
    np.testing.assert_allclose(powers[:1200], np.exp(steps[:1200] / 256), rtol=0.05, atol=1e-5)
    assert np.all(np.diff(powers) <= 0)
    assert powers[-1] == 0


def test_probabilities_are_near_softmax_and_sum_to_one():
    scores = np.random.default_rng(0).normal(scale=3, size=(200, 20)).astype(F)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    exact = powers / powers.sum(-1, keepdims=True)
    found = integer_softmax(scores) / 255
    np.testing.assert_allclose(found, exact, atol=0.012)
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=10.5 / 255)


def test_the_root_is_the_whole_part_of_the_root():
    rng = np.random.default_rng(1)
    large = [int(n) for n in rng.integers(0, 2**62, 2000)]
    edges = [k * k + d for k in (1, 2, 3, 1000, 2**26, 2**31 - 1) for d in (-1, 0, 1)]
    for number in [*range(200), *large, *edges]:
        assert integer_root(number) == math.isqrt(number)


@pytest.mark.parametrize("size", [0.05, 1.0, 30.0])
def test_layer_norm_is_near_the_float_one(size):
    x = np.random.default_rng(2).normal(0.3 * size, size, (20, 256)).astype(F)
    deviations = x.astype(float) - x.mean(-1, keepdims=True, dtype=float)
    expected = deviations / np.sqrt((deviations**2).mean(-1, keepdims=True) + 1e-5)
    found = integer_layer_norm(x, np.ones(256, F), np.zeros(256, F))
    # Input steps of 1/1024, of which the deviations lose half a step and the mean half of one.
    np.testing.assert_allclose(found, expected, atol=1.2 / 1024 / size + 3e-4)


# ---- one result on every path ----


@pytest.mark.parametrize("columns", [1, 7, 64, 300])
@pytest.mark.parametrize("carry", ["norm", "sum"])
def test_layer_norm_is_the_numpy_one_bit_for_bit(path, run, columns, carry):
    rng = np.random.default_rng(columns)
    size = 10.0 ** rng.integers(-3, 5, (6, 1, 1))
    x, residual = (size * rng.normal(size=(2, 6, 5, columns))).astype(F)
    gamma, beta = rng.normal(size=(2, columns)).astype(F)
    for other in (residual, None):
        total = x if other is None else x + other
        for output in OUTPUTS:
            carried, out = run(
                lambda other=other, output=output: ops.layer_norm(
                    x,
                    gamma,
                    beta,
                    residual=other,
                    epsilon=1e-6,
                    carry=carry,
                    arithmetic="integer",
                    **step(output),
                )
            )
            normal = integer_layer_norm(total, gamma, beta, 1e-6)
            np.testing.assert_array_equal(carried, normal if carry == "norm" else total)
            expected = integer_layer_norm(total, gamma, beta, 1e-6, output)
            np.testing.assert_array_equal(out, expected, strict=True)


def test_layer_norm_of_odd_numbers_is_the_numpy_one(path):
    rows = np.array(
        [[0, 0, 0], [1e9, -1e9, 0], [np.inf, 0, 1], [np.nan, 0, 1], [5e-4, 0, 0]], dtype=F
    )
    arguments = rows, np.ones(3, F), np.zeros(3, F)
    for epsilon in (0.0, 1e-12, 1.0):
        _, out = ops.layer_norm(*arguments, epsilon=epsilon, arithmetic="integer")
        np.testing.assert_array_equal(out, integer_layer_norm(*arguments, epsilon), strict=True)


@pytest.mark.parametrize(("rows", "keys", "scale"), [(1, 1, 1e-3), (5, 33, 1e-3), (4, 300, 3e-5)])
def test_attention_is_the_numpy_softmax_times_values_bit_for_bit(path, run, rows, keys, scale):
    rng = np.random.default_rng(keys)
    heads, dim, batch = 2, 8, 3
    q = rng.integers(-127, 128, (batch, rows, heads * dim)).astype(np.int8)
    k, v = rng.integers(-127, 128, (2, batch, keys, heads * dim)).astype(np.int8)
    lengths = rng.integers(1, keys + 1, batch).astype(np.int32)
    context = run(
        lambda: ops.int8_attention(
            q, k, v, lengths, num_heads=heads, head_dim=dim, scale=scale, softmax="integer"
        )
    )
    for b in range(batch):
        for h in range(heads):
            part = slice(h * dim, (h + 1) * dim)
            seen = slice(lengths[b])
            dots = q[b, :, part].astype(np.int32) @ k[b, seen, part].T.astype(np.int32)
            codes = integer_softmax(dots.astype(F) * F(scale))
            expected = codes.astype(np.int32) @ v[b, seen, part].astype(np.int32)
            np.testing.assert_array_equal(context[b, :, part], expected.astype(F))


def test_attention_to_nothing_is_zero(path):
    q = np.full((1, 2, 4), 100, np.int8)
    mask = np.array([[[False, False, False], [False, True, False]]])
    context = ops.int8_attention(
        q,
        np.repeat(q, 2, 1)[:, :3],
        np.repeat(q, 2, 1)[:, :3],
        np.array([3], np.int32),
        mask=mask,
        num_heads=1,
        head_dim=4,
        scale=1e-2,
        softmax="integer",
    )
    np.testing.assert_array_equal(context, [[[0] * 4, [25500] * 4]])


# ---- refusals ----


def test_wrong_values_are_refused_with_what_was_expected():
    x, one = np.ones((1, 2), F), np.ones(2, F)
    with pytest.raises(ValueError, match=r"`arithmetic` must be one of float, integer; .*'int'"):
        ops.layer_norm(x, one, one, arithmetic="int")
    with pytest.raises(ValueError, match="`epsilon` must be at most 1 in an integer LayerNorm"):
        ops.layer_norm(x, one, one, arithmetic="integer", epsilon=1.5)
    q = np.ones((1, 1, 2), np.int8)
    with pytest.raises(ValueError, match="`softmax` must be one of float, integer"):
        ops.int8_attention(
            q, q, q, np.ones(1, np.int32), num_heads=1, head_dim=2, scale=1.0, softmax="whole"
        )
