"""`Int8Gather` against `keras.layers.Embedding`."""

import keras
import numpy as np
import pytest
from helpers.layer_contract import assert_same_signature, check_layer, copy_weights

from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.quantization import quantize_weights

IDS = np.array([[1, 5, 0], [9, 9, 2]], np.int32)


def test_passes_the_layer_contract(tmp_path):
    init = {"input_dim": 10, "output_dim": 6, "mask_zero": True}
    check_layer(Int8Gather, init, lambda layer: layer(IDS), [IDS], (2, 3, 6), tmp_path)


def test_has_the_signature_of_embedding():
    assert_same_signature(Int8Gather.__init__, keras.layers.Embedding.__init__)
    assert_same_signature(Int8Gather.call, keras.layers.Embedding.call)


@pytest.mark.parametrize("options", [{}, {"mask_zero": True}, {"lora_rank": 2}])
def test_gives_what_embedding_gives_until_told_otherwise(options):
    ours, parent = Int8Gather(10, 6, **options), keras.layers.Embedding(10, 6, **options)
    ours(IDS), parent(IDS)
    copy_weights(parent, ours)
    if "lora_rank" in options:
        ours._embeddings.assign(parent._embeddings)
    np.testing.assert_array_equal(ours(IDS), parent(IDS))


def test_takes_initial_weights():
    table = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    np.testing.assert_array_equal(Int8Gather(10, 6, weights=table)(IDS), table[IDS])
    np.testing.assert_array_equal(Int8Gather(10, 6, weights=[table])(IDS), table[IDS])


def test_simulates_one_scale_a_row():
    layer = Int8Gather(10, 6)
    layer(IDS)
    table = layer.embeddings.numpy()
    codes, scale = quantize_weights(np.ascontiguousarray(table.T))
    layer.set_switch(2)
    expected = codes.T.astype(np.float32) * (np.float32(1) / scale)[:, None]
    np.testing.assert_array_equal(layer(IDS), expected[IDS])
    layer.set_switch(1)
    np.testing.assert_array_equal(layer(IDS), table[IDS])
