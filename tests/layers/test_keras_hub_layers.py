"""KerasHub's own models: what is replaced in them computes as before, and becomes INT8.

KerasHub is no requirement of anything here; where it is installed, its own classes are tried.
"""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

from keras_int8nmt import convert, quantize_model
from keras_int8nmt.conversion.quant_table import quant_layer_of
from keras_int8nmt.conversion.t5_attention import is_t5_attention
from keras_int8nmt.layers.inference.frozen_t5_attention import FrozenT5Attention
from keras_int8nmt.layers.model_state import layers_of, set_state, settle
from keras_int8nmt.layers.plain_files import load_plain_weights, save_plain_weights
from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention
from keras_int8nmt.layers.quant_t5_attention import QuantT5MultiHeadAttention

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


# ---- T5

# It has no public name.
T5Attention = pytest.importorskip(
    "keras_hub.src.models.t5.t5_multi_head_attention"
).T5MultiHeadAttention
CAUSAL = np.tril(np.ones((B, T, T), np.int32))
S = 6
V = RNG.normal(size=(B, S, D)).astype(np.float32)
PADDED = np.array([[[1] * 4 + [0] * 2], [[1] * S]], np.int32)


def t5_pair(*, is_decoder=True, relative=True, dropout=0.0, dtype="float32", **call):
    """KerasHub's layer, and the Quant layer that `quantize_model` puts in its place."""
    keras.utils.set_random_seed(0)
    parent = T5Attention(is_decoder, D, DIM, HEADS, dropout, relative, dtype=dtype)
    with warnings.catch_warnings():
        # The parent warns of its own argument: it takes it for a mask that it destroys.
        warnings.filterwarnings("ignore", message=".*does not support masking")
        parent(X, **call)
    return quant_layer_of(parent), parent


def same(ours, parent, **call):
    """Both layers' outputs of one call, all of them equal to the bit."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not support masking")
        own, theirs = ours(X, **call), parent(X, **call)
    for one, other in zip(own, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    return own


T5_CALLS = {
    "self": {},
    "causal": {"mask": CAUSAL},
    "cross": {"key_value_states": V, "mask": PADDED},
    "handed on": {"position_bias": RNG.normal(size=(1, HEADS, T, T)).astype(np.float32)},
    "handed on for each sentence": {
        "position_bias": RNG.normal(size=(B, HEADS, T, S)).astype(np.float32),
        "key_value_states": V,
        "mask": PADDED,
    },
    "nobody to see": {"mask": np.zeros((B, T, T), np.int32)},
}


@pytest.mark.parametrize("name", T5_CALLS)
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("is_decoder", [True, False])
def test_t5_attention_gives_what_kerashubs_gives_to_the_bit(name, relative, is_decoder):
    given = T5_CALLS[name]
    ours, parent = t5_pair(is_decoder=is_decoder, relative=relative, **given)
    assert type(ours) is QuantT5MultiHeadAttention
    assert [w.shape for w in ours.weights] == [w.shape for w in parent.weights]
    same(ours, parent, **given)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16", "float64"])
def test_t5_attention_has_the_dtypes_of_kerashubs(dtype):
    ours, parent = t5_pair(dtype=dtype, mask=CAUSAL)
    same(ours, parent, mask=CAUSAL)


def test_t5_attention_has_the_dropout_and_gradients_of_kerashubs():
    import tensorflow as tf

    ours, parent = t5_pair(dropout=0.5, mask=CAUSAL)
    gradients = []
    for layer in (ours, parent):
        with warnings.catch_warnings(), tf.GradientTape() as tape:
            warnings.filterwarnings("ignore", message=".*does not support masking")
            loss = tf.reduce_sum(layer(X, mask=CAUSAL, training=True)[0] ** 2)
        variables = [v.value for v in layer.trainable_variables]
        gradients.append([tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)])
    for own, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-5, atol=1e-6)
    for _ in range(2):
        same(ours, parent, mask=CAUSAL, training=True)


def test_t5_attention_has_the_caches_of_kerashubs():
    ours, parent = t5_pair(mask=CAUSAL)
    cache = np.zeros((B, 2, T, HEADS, DIM), np.float32)
    for t in range(T):
        given = {"mask": CAUSAL[:, t : t + 1], "cache": cache, "cache_update_index": t}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not support masking")
            own, theirs = (layer(X[:, t : t + 1], **given) for layer in (ours, parent))
        for one, other in zip(own, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
        cache = own[2]
    same(ours, parent, cache=cache)
    for layer in (ours, parent):
        with pytest.raises(ValueError, match="cache_update_index"):
            layer(X, cache_update_index=0)


def test_t5_attention_that_is_called_in_another_way_keeps_its_own_code():
    class T5MultiHeadAttention(keras.layers.Layer):
        def call(self, hidden_states, mask=None, past_key_value=None, training=False):
            return hidden_states

    assert is_t5_attention(T5Attention)
    T5MultiHeadAttention.__module__ = T5Attention.__module__
    assert not is_t5_attention(T5MultiHeadAttention)
    mine = type("T5MultiHeadAttention", (T5Attention,), {"__module__": "mine"})
    assert not is_t5_attention(mine)


# KerasHub's attention takes its own argument for a mask that it destroys.
PARENT_WARNS = pytest.mark.filterwarnings("ignore:.*does not support masking")


def t5_inputs():
    given = {}
    for side in ("encoder", "decoder"):
        given[f"{side}_token_ids"] = IDS
        given[f"{side}_padding_mask"] = np.ones_like(given[f"{side}_token_ids"])
    given["encoder_padding_mask"][0, 4:] = 0
    return given


@PARENT_WARNS
def test_all_products_of_t5_become_int8(tmp_path):
    keras.utils.set_random_seed(0)
    model = hub.models.T5Backbone(30, key_value_dim=8, dropout=0.1, **SIZES)
    data = t5_inputs()
    exact = model(data)
    quant, int8 = converted(model, data)
    for name, output in quant(data).items():
        np.testing.assert_array_equal(output, exact[name])
    rows = int8.conversion_report.rows
    # Six products an attention, of which a decoder's layer has two; and three a feed-forward.
    assert len(rows) == 2 * (6 + 3) + 2 * (2 * 6 + 3) == 48
    assert {row.precision for row in rows} == {"int8"}
    assert sum(type(layer) is FrozenT5Attention for layer in layers_of(int8)) == 6
    set_state(quant, "simulating")
    simulated = quant(data)
    for name, output in int8(data).items():
        assert 0 < relative(output.numpy(), exact[name].numpy()) < 0.03
        assert relative(output.numpy(), simulated[name].numpy()) < 0.01
    set_state(quant, "float")
    dynamic = convert(quant, activations="dynamic")
    floats = [row.name for row in dynamic.conversion_report.rows if row.precision == "float32"]
    assert len(floats) == 2 * 6
    assert all(name.endswith(("/QK", "/AV")) for name in floats)
    save_plain_weights(quant, tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    load_plain_weights(quant, tmp_path / "plain.weights.h5")
    for name, output in int8(data).items():
        np.testing.assert_array_equal(model(data)[name], exact[name])
        np.testing.assert_array_equal(convert(quant)(data)[name], output)


@PARENT_WARNS
def test_a_t5_that_generates_does_so_in_int8():
    keras.utils.set_random_seed(0)
    backbone = hub.models.T5Backbone(30, key_value_dim=8, **SIZES)
    model = hub.models.T5Seq2SeqLM(backbone, preprocessor=None)
    data = t5_inputs()
    exact = model(data).numpy()
    quant, int8 = converted(model, data)
    np.testing.assert_array_equal(quant(data), exact)
    assert 0 < relative(int8(data).numpy(), exact) < 0.05
    rows = int8.conversion_report.rows
    assert len(rows) == 48 + 1
    assert {row.precision for row in rows} == {"int8"}
    prompt = {**data, "decoder_padding_mask": data["decoder_padding_mask"].copy()}
    prompt["decoder_padding_mask"][:, 2:] = 0
    for each in (model, quant, int8):
        each.compile(sampler="greedy")
    ids = [
        np.asarray(m.generate(prompt, stop_token_ids=None)["decoder_token_ids"])
        for m in (model, quant, int8)
    ]
    np.testing.assert_array_equal(ids[1], ids[0])
    assert ids[2].shape == ids[0].shape
    np.testing.assert_array_equal(ids[2][:, :2], IDS[:, :2])


# ---- inside of blocks

UP, DOWN, NORM = "intermediate_dense", "output_dense", "layer_norm"
FORWARD = {("written by the product", UP, DOWN)}
PRE_NORM = FORWARD | {("written by the norm", NORM, UP)}
MASK = np.arange(6) < np.array([[6], [4]])
BOTH_SIDES = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in {"token_ids": IDS, "padding_mask": MASK}.items()
}
BLOCKS = {
    "BERT": (
        lambda: hub.models.BertBackbone(vocabulary_size=30, max_sequence_length=12, **SIZES),
        {"token_ids": IDS, "segment_ids": np.zeros_like(IDS), "padding_mask": MASK},
        FORWARD,
    ),
    "GPT-2": (
        lambda: hub.models.GPT2Backbone(vocabulary_size=30, max_sequence_length=12, **SIZES),
        {"token_ids": IDS, "padding_mask": MASK},
        PRE_NORM,
    ),
    "BART": (
        lambda: hub.models.BartBackbone(vocabulary_size=30, max_sequence_length=12, **SIZES),
        BOTH_SIDES,
        FORWARD,
    ),
    "T5": (
        lambda: hub.models.T5Backbone(
            vocabulary_size=30, activation="relu", use_gated_activation=False, **SIZES
        ),
        BOTH_SIDES,
        {("written by the product", "input_projector", "output_projector")},
    ),
    "T5, gated": (
        lambda: hub.models.T5Backbone(vocabulary_size=30, use_gated_activation=True, **SIZES),
        BOTH_SIDES,
        set(),
    ),
}


@PARENT_WARNS
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_exchange_codes_and_no_bit_of_the_output_changes(name):
    make, data, expected = BLOCKS[name]
    keras.utils.set_random_seed(0)
    quant, fused = converted(make(), data)
    alone = convert(quant, fused=False)
    exchanges = fused.conversion_report.exchanges
    found = {
        (one.pattern, *(path.rsplit("/")[-1].removeprefix("feedforward_") for path in ends))
        for one in exchanges
        for ends in [(one.writer, *one.readers)]
    }
    assert found >= expected
    inside = [one for one in exchanges if "/" in one.writer]
    assert bool(inside) == bool(expected)
    for training in (False, True):
        outputs = []
        for model in (fused, alone):
            keras.utils.set_random_seed(1)
            outputs.append(keras.tree.flatten(model(data, training=training)))
        for ours, theirs in zip(*outputs, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_subclass_of_a_block_keeps_its_floats():
    class Own(hub.layers.TransformerEncoder):
        pass

    keras.utils.set_random_seed(0)
    x = keras.Input((T, D))
    model = keras.Model(x, Own(16, HEADS, name="own")(x))
    _, fused = converted(model, X)
    assert not fused.conversion_report.exchanges
    block = keras.Model(x, hub.layers.TransformerEncoder(16, HEADS, name="known")(x))
    _, fused = converted(block, X)
    assert [one.pattern for one in fused.conversion_report.exchanges] == ["written by the product"]
