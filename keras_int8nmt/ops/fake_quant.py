"""TensorFlow's own fake quantization, which LiteRT and ONNX read ranges from."""

from __future__ import annotations

import tensorflow as tf

from keras_int8nmt.quantization import QuantParams

# The codes of a byte. Ours of int8 leave out -128, which ONNX's converter can't be told.
_LOWEST, _HIGHEST = {"int8": -128, "uint8": 0}, {"int8": 127, "uint8": 255}


def fake_quant(x: tf.Tensor, params: QuantParams) -> tf.Tensor:
    """`x` as its codes stand for it, by an operation whose range is written in the graph."""
    step = 1.0 / float(params.scale)
    low, high = ((codes[params.dtype] - params.zero_point) * step for codes in (_LOWEST, _HIGHEST))
    values = tf.cast(x, tf.float32)
    if params.dtype == "int8":
        values = tf.maximum(values, low + step)
    values = tf.quantization.fake_quant_with_min_max_args(values, low, high, num_bits=8)
    return tf.cast(values, x.dtype)
