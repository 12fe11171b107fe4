"""TensorFlow's own fake quantization, which LiteRT and ONNX read ranges from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_int8nmt.quantization import QuantParams, quantize_weights

_LOWEST, _HIGHEST = {"int8": -128, "uint8": 0}, {"int8": 127, "uint8": 255}


def fake_quant(x: tf.Tensor, params: QuantParams, narrow: bool = False) -> tf.Tensor:
    """`x` as its codes stand for it, by an operation whose range is written in the graph.

    Args:
        x: Float tensor.
        params: The rule.
        narrow: Whether the range of int8 leaves out -128, as our codes do. LiteRT's converter can
            be told so, ONNX's can't: there a maximum before it keeps -128 out.
    """
    step = 1.0 / float(params.scale)
    narrow = narrow and params.dtype == "int8"
    lowest = _LOWEST[params.dtype] + narrow
    low, high = ((code - params.zero_point) * step for code in (lowest, _HIGHEST[params.dtype]))
    values = tf.cast(x, tf.float32)
    if params.dtype == "int8" and not narrow:
        values = tf.maximum(values, low + step)
    values = tf.quantization.fake_quant_with_min_max_args(
        values, low, high, num_bits=8, narrow_range=narrow
    )
    return tf.cast(values, x.dtype)


def row_codes(table: Callable[[], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """A table as constants of the graph: int8 codes, and the float32 step of each row.

    Args:
        table: Gives it, float `[rows, width]`, outside of the graph.
    """
    with tf.init_scope():
        values = np.asarray(table(), np.float32)
    codes, scale = quantize_weights(values.T)
    return tf.constant(codes.T), tf.constant(np.float32(1) / scale)
