"""Simulated outputs are those of integer arithmetic, written out here in NumPy."""

import keras
import numpy as np
import pytest

from keras_int8nmt.calibration import set_state, settle, simulate
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.quantization import quantize, quantize_weights

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 7, 16)).astype(np.float32)
V = RNG.exponential(size=(3, 9, 12)).astype(np.float32)
MASK = RNG.random((3, 7, 9)) > 0.3


def calibrated(layer, mode, *inputs, **call):
    layer(*inputs, **call)
    set_state(layer, "observing")
    layer(*inputs, **call)
    set_state(layer, "float")
    settle(layer, mode)
    simulate(layer)
    return layer


def integer_product(x, params, dense):
    """float(acc) * scales + bias; the zero point is taken off the codes, in integers."""
    kernel = dense.kernel.numpy()
    codes, scale = quantize_weights(kernel.reshape(x.shape[-1], -1))
    acc = (quantize(x, params).astype(np.int32) - params.zero_point) @ codes.astype(np.int32)
    y = acc.astype(np.float32) * (params.inv_scale * (np.float32(1) / scale))
    return y + dense.bias.numpy().reshape(-1)


def integer_attention(layer, x, v, mask):
    heads = layer.num_heads
    codes = {}
    for name, source, observer, dense in (
        ("q", x, layer.query_input, layer.query_dense),
        ("k", v, layer.value_input, layer.key_dense),
        ("v", v, layer.value_input, layer.value_dense),
    ):
        y = integer_product(source, observer.params(), dense)
        codes[name] = y.reshape(*source.shape[:2], heads, -1)
    params = {"q": layer.query.params(), "k": layer.key.params(), "v": layer.value.params()}
    q, k, v = (quantize(codes[n], params[n]).astype(np.int32) for n in "qkv")
    scale = params["q"].inv_scale * params["k"].inv_scale / np.sqrt(np.float32(layer.key_dim))
    scores = np.einsum("btnh,bsnh->bnts", q, k).astype(np.float32) * scale
    scores = np.where(mask[:, None], scores, -np.inf)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p = np.rint(powers * (np.float32(255) / powers.sum(axis=-1, keepdims=True))).astype(np.int32)
    context = np.einsum("bnts,bsnh->btnh", p, v).astype(np.float32)
    context *= params["v"].inv_scale / np.float32(255)
    context = context.reshape(*x.shape[:2], -1)
    return integer_product(context, layer.context.params(), layer.output_dense)


@pytest.mark.parametrize("mode", ["naive", "symmetric", "independent", "conjugate"])
@pytest.mark.parametrize("units", [1, 5, 64])
def test_dense(mode, units):
    keras.utils.set_random_seed(units)
    layer = calibrated(QuantDense(units, bias_initializer="normal"), mode, X)
    expected = integer_product(X, layer.input_observer.params(), layer)
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("mode", ["naive", "symmetric", "independent", "conjugate"])
@pytest.mark.parametrize(("heads", "width", "value_width"), [(1, 5, 3), (4, 8, 8)])
def test_attention(mode, heads, width, value_width):
    keras.utils.set_random_seed(heads)
    layer = QuantAttention(heads, width, value_width, bias_initializer="normal")
    calibrated(layer, mode, X, V, attention_mask=MASK)
    expected = integer_attention(layer, X, V, MASK)
    output = layer(X, V, attention_mask=MASK).numpy()
    # A value at a rounding tie may go the other way and changes the row that it is in.
    same = np.isclose(output, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert same.all(axis=-1).mean() > 0.95
    np.testing.assert_allclose(output, expected, atol=0.02 * np.abs(expected).max())
