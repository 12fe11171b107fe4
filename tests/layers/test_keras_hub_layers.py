"""KerasHub's own models: what is replaced in them computes as before, and becomes INT8.

KerasHub is no requirement of anything here; where it is installed, its own classes are tried.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import convert, quantize_model
from keras_int8nmt.layers.model_state import set_state, settle
from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention

hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed")

RNG = np.random.default_rng(0)
B, T, D, HEADS, DIM = 2, 4, 8, 2, 4
X = RNG.normal(size=(B, T, D)).astype(np.float32)
IDS = RNG.integers(1, 30, (B, 6)).astype(np.int32)
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}


def test_cached_attention_gives_what_kerashubs_gives():
    parent = hub.layers.CachedMultiHeadAttention(HEADS, DIM, bias_initializer="normal")
    ours = QuantCachedMultiHeadAttention(HEADS, DIM)
    parent(X, X), ours(X, X)
    ours.set_weights(parent.get_weights())
    mask = np.tril(np.ones((1, T, T), bool))
    options = {"attention_mask": mask}
    np.testing.assert_allclose(ours(X, X, **options), parent(X, X, **options), atol=1e-6)
    caches = [np.zeros((B, 2, T, HEADS, DIM), np.float32)] * 2
    for t in range(T):
        x = X[:, t : t + 1]
        given = {"attention_mask": mask[:, t : t + 1], "cache_update_index": t}
        found = [
            layer(x, x, cache=cache, **given)
            for layer, cache in zip((ours, parent), caches, strict=True)
        ]
        caches = [cache for _, cache in found]
        for own, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(own, theirs, atol=1e-6)
    scores = [layer(X, X, return_attention_scores=True)[1] for layer in (ours, parent)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)


def converted(model, data, **options):
    """The model with Quant layers, calibrated on `data`, and the INT8 model of it."""
    quant = quantize_model(model)
    set_state(quant, "observing")
    quant(data)
    set_state(quant, "float")
    settle(quant, "naive")
    return quant, convert(quant, **options)


def relative(result, exact):
    return float(np.sqrt(np.mean(np.square(result - exact)) / np.mean(np.square(exact))))


def test_a_causal_language_model_generates_in_int8():
    keras.utils.set_random_seed(0)
    backbone = hub.models.GPT2Backbone(vocabulary_size=30, max_sequence_length=12, **SIZES)
    model = hub.models.GPT2CausalLM(backbone, preprocessor=None)
    model.compile(sampler="greedy")
    data = {"token_ids": IDS, "padding_mask": np.ones_like(IDS)}
    exact = model(data).numpy()
    quant, int8 = converted(model, data)
    np.testing.assert_allclose(quant(data), exact, atol=1e-5)
    assert 0 < relative(int8(data).numpy(), exact) < 0.05
    rows = int8.conversion_report.rows
    assert len(rows) == 2 * 8 + 1
    assert {row.precision for row in rows} == {"int8"}
    prompt = {"token_ids": IDS.copy(), "padding_mask": np.ones_like(IDS)}
    prompt["padding_mask"][:, 3:] = 0
    for copy in (quant, int8):
        copy.compile(sampler="greedy")
    ids = [m.generate(prompt, stop_token_ids=None)["token_ids"] for m in (model, quant, int8)]
    np.testing.assert_array_equal(ids[1], ids[0])
    assert ids[2].shape == ids[0].shape
    np.testing.assert_array_equal(ids[2][:, :3], IDS[:, :3])
