"""Bad input into each op, on both paths: an error that names it, never a crash."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import ops

F = np.float32
ZEROS8 = np.zeros((2, 3, 16), np.int8)


def _matmul(**changes):
    arguments = {
        "x": np.zeros((2, 4), np.int8),
        "packed": ops.pack_weights(np.zeros((4, 3), np.int8)),
        "scales": np.ones(3, F),
        "bias": np.zeros(3, F),
        **changes,
    }
    return ops.int8_matmul(**arguments)


def _attention(**changes):
    arguments = {
        "query": ZEROS8,
        "key": ZEROS8,
        "value": ZEROS8,
        "lengths": np.array([3, 3], np.int32),
        "num_heads": 2,
        "head_dim": 8,
        "scale": 1.0,
        **changes,
    }
    return ops.int8_attention(**arguments)


BAD = {
    "matmul float input": (lambda: _matmul(x=np.zeros((2, 4), F)), "x"),
    "matmul wrong width": (lambda: _matmul(x=np.zeros((2, 5), np.int8)), "x|packed"),
    "matmul scales too short": (lambda: _matmul(scales=np.ones(2, F)), "scales"),
    "matmul bias too short": (lambda: _matmul(bias=np.ones(2, F)), "bias"),
    "matmul unknown activation": (lambda: _matmul(activation="elu"), "elu"),
    "matmul bad output": (lambda: _matmul(out_dtype="int16"), "int16"),
    "matmul bad zero point": (lambda: _matmul(out_dtype="uint8", out_zero_point=256), "256"),
    "matmul bad scale": (lambda: _matmul(out_scale=float("nan")), "scale"),
    "matmul blob cut": (
        lambda: _matmul(packed=ops.pack_weights(np.zeros((4, 3), np.int8))[:50]),
        "packed",
    ),
    "matmul blob tampered": (
        lambda: _matmul(packed=tf.zeros_like(ops.pack_weights(np.zeros((4, 3), np.int8)))),
        "packed",
    ),
    "pack rank": (lambda: ops.pack_weights(np.zeros(3, np.int8)), "weights"),
    "pack dtype": (lambda: ops.pack_weights(np.zeros((3, 3), F)), "weights"),
    "quantize dtype": (lambda: ops.quantize(np.zeros(3, np.int32), 1.0), "x"),
    "quantize scale": (lambda: ops.quantize(np.zeros(3, F), 0.0), "scale"),
    "dequantize dtype": (lambda: ops.dequantize(np.zeros(3, F), 1.0), "q"),
    "layer_norm gamma": (
        lambda: ops.layer_norm(np.zeros((2, 3), F), np.ones(4, F), np.ones(3, F)),
        "gamma",
    ),
    "layer_norm residual": (
        lambda: ops.layer_norm(
            np.zeros((2, 3), F), np.ones(3, F), np.ones(3, F), residual=np.zeros((1, 3), F)
        ),
        "residual",
    ),
    "layer_norm carry": (
        lambda: ops.layer_norm(np.zeros((2, 3), F), np.ones(3, F), np.ones(3, F), carry="x"),
        "carry",
    ),
    "attention mask rank": (lambda: _attention(mask=np.ones((2, 3), bool)), "mask"),
    "attention bias rank": (lambda: _attention(bias=np.ones((2, 3, 3), F)), "bias"),
    "attention bias dtype": (lambda: _attention(bias=np.ones((2, 2, 3, 3), int)), "bias"),
    "attention query dtype": (lambda: _attention(query=ZEROS8.astype(F)), "query"),
    "attention key dtype": (lambda: _attention(key=ZEROS8.astype(F)), "key"),
    "attention heads": (lambda: _attention(num_heads=3), "heads"),
    "attention key rank": (lambda: _attention(key=ZEROS8[0]), "key"),
    "attention column": (lambda: _attention(key_column=8), "key"),
    "cache index": (lambda: ops.cache_append(ZEROS8, ZEROS8[:, 0], 3), "index|indices"),
    "cache negative index": (lambda: ops.cache_append(ZEROS8, ZEROS8[:, 0], -1), "index|indices"),
    "cache update dtype": (lambda: ops.cache_append(ZEROS8, ZEROS8[:, 0].astype(F), 0), "update"),
    "cache column": (lambda: ops.cache_append(ZEROS8, ZEROS8[:, 0], 0, column=1), "update"),
    "gather index": (lambda: ops.int8_gather(ZEROS8, [0, 2]), "indices"),
    "gather negative index": (lambda: ops.int8_gather(ZEROS8, [-1]), "indices"),
    "gather batch_dims": (lambda: ops.int8_gather(ZEROS8, [0], batch_dims=2), "batch_dims"),
    "embedding index": (
        lambda: ops.embedding_lookup(np.zeros((3, 2), np.int8), np.ones(3, F), [3]),
        "indices",
    ),
    "top_k too many": (lambda: ops.top_k_log_probs(np.zeros((1, 3), F), 4), "k"),
    "top_k rank": (lambda: ops.top_k_log_probs(np.zeros(3, F), 1), "logits"),
    "top_k NaN": (lambda: ops.top_k_log_probs(np.array([[1, np.nan]], F), 1), "logits"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_names_it(path, case):
    call, named = BAD[case]
    with pytest.raises((ValueError, TypeError, tf.errors.InvalidArgumentError), match=named):
        call()
