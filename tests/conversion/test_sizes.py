"""Converted models tell their sizes as Keras models do, and refuse what would change them."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from helpers.models import make_data, tiny_model

from keras_int8nmt import Int8Gather, KerasInt8nmtError, QuantAttention, QuantDense, convert

IDS = np.random.default_rng(0).integers(0, 20, (4, 6)).astype("int32")


@pytest.fixture(scope="module")
def int8():
    ids = keras.Input((6,), dtype="int32")
    h = Int8Gather(20, 16)(ids)
    h = keras.layers.RMSNormalization()(QuantAttention(2, 8)(h, h))
    model = keras.Model(ids, QuantDense(3, activation="relu")(h))
    return convert(model, activations="dynamic")


def text_of(model):
    lines = []
    model.summary(print_fn=lines.append, line_length=100)
    return "\n".join(lines)


def test_the_sum_of_a_summary_is_that_of_its_rows_and_counts_a_byte_for_a_weight(int8):
    table = 20 * 16, 20 * 4
    attention = (16 * 48 + 16 * 16), (48 + 16) * 8
    dense = 16 * 3, 3 * 8
    norm = 16 * 4
    # Codes of a byte; scales and biases of four.
    expected = sum(a + b for a, b in (table, attention, dense)) + norm
    assert sum(w.numpy().nbytes for w in int8.weights) == expected
    numbers = int8.count_params()
    assert numbers == sum(layer.count_params() for layer in int8.layers)
    text = text_of(int8)
    assert f"Total params: {numbers:,} ({expected / 1024:.2f} KB)" in text
    assert f"Trainable params: 16 ({norm:.2f} B)" in text
    assert re.search(r"int8_gather\S*[^\n]* 340 ", text)


def test_what_it_lists_is_what_it_saves_and_no_variable(int8, tmp_path):
    listed = {w.path: w.numpy() for w in int8.weights if w.dtype == "int8"}
    # A table, a kernel, and the four projections of the attention.
    assert len(listed) == 6
    assert all(np.abs(a.astype(int)).max() <= 127 and a.any() for a in listed.values())
    assert len(int8.variables) == 1
    int8.save(tmp_path / "int8.keras")
    again = keras.saving.load_model(tmp_path / "int8.keras")
    for found, expected in zip(again.get_weights(), int8.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_its_weights_can_not_be_set(int8):
    with pytest.raises(KerasInt8nmtError, match="converted layers are frozen"):
        int8.set_weights(int8.get_weights())


def test_a_clone_and_what_from_config_makes_say_that_they_have_no_weights(int8):
    for copy in (keras.models.clone_model(int8), type(int8).from_config(int8.get_config())):
        with pytest.raises(KerasInt8nmtError, match=r"has no weights yet.*save and load"):
            copy(IDS)
        assert "Total params: 16" in text_of(copy)


def test_a_converted_transformer_counts_its_blocks():
    int8 = convert(tiny_model(), activations="dynamic")
    int8(make_data())
    parts = [int8.source_embedding, int8.encoder_entry, *int8.encoder_blocks]
    assert all(block.count_params() > 0 for block in int8.encoder_blocks)
    assert int8.count_params() > sum(part.count_params() for part in parts)
    assert f"Total params: {int8.count_params():,}" in text_of(int8)
