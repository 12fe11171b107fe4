"""Estimated times: of every MatMul there is, as operations and bytes say."""

from __future__ import annotations

import keras
import pytest
from helpers.models import CONFIGURATIONS, make_transformer

from keras_int8nmt import QuantAttention, QuantDense
from keras_int8nmt.autotuning.costs import (
    BYTES_PER_NS,
    SELF_RATE,
    WEIGHTS_RATE,
    Workload,
    matmul_times,
)
from keras_int8nmt.conversion.graph import graph_matmuls
from keras_int8nmt.conversion.transformer import transformer_matmuls

WORK = Workload(source_tokens=10, target_tokens=12, beam_size=4, batch_size=32)
DECODER = "transformer/decoder_block_0/"


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_every_matmul_has_times_and_is_faster_in_int8(configuration):
    # Counting needs no thresholds.
    model = make_transformer(None, **configuration)
    times = matmul_times(model, WORK)
    assert set(times) == {m.name for m in transformer_matmuls(model)}
    assert all(0 < t.int8 < t.float32 for t in times.values())


def test_times_are_operations_and_bytes_by_hand():
    times = matmul_times(make_transformer(None), WORK)
    # 32 x 64 weights, 12 steps of 4 hypotheses; read 12 times a batch of 32 sentences.
    ffn = times[DECODER + "ffn_in"]
    assert ffn.int8 == pytest.approx(32 * 64 * (48 / WEIGHTS_RATE["int8"] + 12 / 32 / BYTES_PER_NS))
    assert ffn.float32 == pytest.approx(
        32 * 64 * (48 / WEIGHTS_RATE["float32"] + 4 * 12 / 32 / BYTES_PER_NS)
    )
    # 1 + 2 + ... + 12 pairs of 32 columns for each of 4 hypotheses.
    assert times[DECODER + "self_attention/QK"].int8 == pytest.approx(4 * 78 * 32 / SELF_RATE)
    # Keys of the encoder's output are computed once a sentence.
    cross = DECODER + "cross_attention/"
    assert times[cross + "key"].int8 < times[cross + "query"].int8


def test_beams_and_batches_change_what_they_should():
    model = make_transformer(None)

    def times(**changes):
        found = matmul_times(model, Workload(10, 12, **changes))
        return {name: found[DECODER + name] for name in ("ffn_in", "cross_attention/key")}

    base, beams, batches = times(), times(beam_size=8), times(batch_size=1)
    assert beams["ffn_in"].int8 > base["ffn_in"].int8
    assert beams["cross_attention/key"] == base["cross_attention/key"]
    assert batches["ffn_in"].float32 > base["ffn_in"].float32


def test_models_of_users_have_times_as_well():
    x = inputs = keras.Input((5, 16))
    x = QuantAttention(2, 8, name="attention")(x, x)
    model = keras.Model(inputs, QuantDense(4, name="dense")(x))
    times = matmul_times(model, WORK)
    assert set(times) == {m.name for m in graph_matmuls(model)}
    assert all(0 < t.int8 < t.float32 for t in times.values())
