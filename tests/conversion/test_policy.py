"""Policies of `convert`: which MatMul is INT8, what the report says, and what layers exchange."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import CONFIGURATIONS, calibrate_eagerly, make_data, make_transformer

from keras_int8nmt import (
    FloatDense,
    FloatEmbedding,
    Int8Attention,
    Int8Dense,
    Int8Embedding,
    Int8Gather,
    MixedAttention,
    QuantAttention,
    QuantDense,
    convert,
)
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.storage.state import precision_of

ENCODER, DECODER = "transformer/encoder_block_0/", "transformer/decoder_block_0/"


def precisions(model):
    return {row.name: row.precision for row in model.conversion_report.rows}


def floats(model):
    return [name for name, precision in precisions(model).items() if precision == "float32"]


def at_random(seed):
    rng = random.Random(seed)
    return lambda name: rng.choice(["int8", "float32"])


# ---- what a policy says ----


@pytest.mark.parametrize("configuration", CONFIGURATIONS[1:3], ids=str)
def test_the_paper_leaves_products_of_two_tensors_and_sparse_inputs_float(configuration):
    activation = configuration["activation"]
    report = convert(make_transformer(**configuration), policy="paper").conversion_report
    ends = ("/QK", "/AV", "/ffn_out") if activation == "relu" else ("/QK", "/AV")
    for row in report.rows:
        assert row.precision == ("float32" if row.name.endswith(ends) else "int8"), row
        assert row.reason.startswith("policy: paper"), row
    assert report.precision == "mixed"
    assert "float32 (policy: paper, product of two tensors)" in report.to_text()
    assert ("float32 (policy: paper, sparse input)" in report.to_text()) == (activation == "relu")


def test_int8_is_the_default_and_has_a_name():
    model = make_transformer()
    default, named = convert(model), convert(model, policy="int8")
    data = make_data()
    np.testing.assert_array_equal(default(data), named(data))
    assert default.conversion_report == named.conversion_report
    assert {row.reason for row in default.conversion_report.rows} == {""}
    assert isinstance(default.encoder_blocks[0].attention, Int8Attention)


def test_a_mapping_speaks_of_what_it_names():
    policy = {
        ENCODER + "attention/QK": "float32",
        DECODER + "ffn_in": "int8",
        "output_projection": "float32",
    }
    model = convert(make_transformer(), policy=policy, sample=make_data())
    assert floats(model) == [ENCODER + "attention/QK", "output_projection"]
    for row in model.conversion_report.rows:
        assert row.reason == ("policy: by name" if row.name in policy else "")
        assert (row.output_sqnr_db is None) == (row.precision == "float32")
        assert bool(row.thresholds) == (row.precision == "int8")
    assert "21 of 23 MatMuls in INT8" in model.conversion_report.to_text()


def test_a_function_is_asked_once_for_every_name_of_the_report():
    asked = []

    def policy(name):
        asked.append(name)
        return "float32" if "cross_attention" in name else "int8"

    model = convert(make_transformer(), policy=policy)
    assert asked == list(precisions(model))
    assert floats(model) == [name for name in asked if "cross_attention" in name]
    assert {row.reason for row in model.conversion_report.rows} == {"policy: by function"}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"ffn_in": "int8"}, r"no MatMul 'ffn_in'; it has:\n  transformer/encoder_block_0/att"),
        ({"output_projection": "int4"}, r"'int8' or 'float32' .* 'output_projection': 'int4'"),
        (lambda name: None, r"return 'int8' or 'float32'; for '.*/query' it returned None"),
        ("papers", r"one of 'int8', 'paper', 'float32', None, or a mapping.* received 'papers'"),
        (3, "received 3"),
    ],
)
def test_what_is_not_known_is_refused_with_what_was_expected(policy, message):
    with pytest.raises(ValueError, match=message):
        convert(make_transformer(), policy=policy)


# ---- what the model computes ----


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_all_float_is_the_plain_model(configuration):
    model = make_transformer("independent", **configuration)
    by_name = convert(model, policy="float32")
    everything = dict.fromkeys(precisions(by_name), "float32")
    data = make_data(seed=5)
    exact = plain_model(model)(data).numpy()
    for converted in (by_name, convert(model, policy=everything)):
        np.testing.assert_allclose(converted(data).numpy(), exact, atol=1e-4)
        assert converted.conversion_report.precision == converted.precision == "float32"
        assert isinstance(converted.source_embedding, FloatEmbedding)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_any_assignment_is_near_the_float_model_and_is_saved_bit_for_bit(configuration, tmp_path):
    model, data = make_transformer("independent", **configuration), make_data()
    exact = plain_model(model)(data).numpy()
    for policy in ("paper", at_random(0), at_random(1)):
        mixed = convert(model, policy=policy)
        logits = mixed(data).numpy()
        noise = np.mean(np.square(logits - exact)) / np.mean(np.square(exact))
        assert noise < 3e-3
        assert precision_of(mixed) == mixed.precision == "mixed"
        assert isinstance(mixed.source_embedding, Int8Embedding)
    mixed.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(data).numpy(), logits, strict=True)
    # Keras alone keeps no report.
    assert again.conversion_report is None
    assert precision_of(again) == "mixed"


@pytest.mark.parametrize(
    "policy",
    ["paper", "float32", at_random(2), at_random(3)],
    ids=["paper", "float32", "random 2", "random 3"],
)
def test_step_by_step_equals_all_at_once(policy):
    mixed = convert(make_transformer(), policy=policy)
    data = make_data(batch=3)
    everything = mixed(data).numpy()
    encoded = mixed.encode(tf.constant(data["source"]))
    cache = mixed.start_cache(encoded, 2, 2)
    swap = tf.constant([[1, 0]] * 3)
    for t in range(7):
        if t % 2 == 0 and t:
            cache = mixed.grow_cache(cache, t + 2)
        tokens = tf.repeat(data["target"][:, t : t + 1], 2, axis=1)
        logits, cache = mixed.decode_step(tokens, tf.constant(t), cache)
        # Both beams are alike, so that their rows can change places.
        cache = mixed.reorder_cache(cache, swap)
        np.testing.assert_allclose(logits[::2], everything[:, t], atol=1e-4)


# ---- what layers hand on ----


def converted_but(*names, **changes):
    return convert(make_transformer(**changes), policy=dict.fromkeys(names, "float32"))


def test_a_norm_hands_on_codes_where_all_its_readers_are_int8():
    block = converted_but(ENCODER + "ffn_in").encoder_blocks[0]
    assert block.attention_norm.output_params is None
    assert isinstance(block.ffn_in, FloatDense)
    assert block.ffn_in.output_params == block.ffn_out.input_params
    entry = converted_but(ENCODER + "attention/key").encoder_entry
    assert entry.output_params is None
    # QK^T and AV read no norm.
    assert converted_but(ENCODER + "attention/QK").encoder_entry.output_params is not None


def test_the_memory_is_float_where_a_projection_that_reads_it_is():
    for configuration in CONFIGURATIONS[:2]:  # a post-norm and a pre-norm one
        model = converted_but(DECODER + "cross_attention/key", **configuration)
        assert model.encoder_blocks[-1].ffn_norm.output_params is None
        source = tf.constant(make_data()["source"])
        assert model.encode(source)["memory"].dtype == tf.float32
        model = converted_but(DECODER + "cross_attention/query", **configuration)
        assert model.encode(source)["memory"].dtype == tf.int8


def test_the_feed_forward_part_and_the_output_hand_on_what_is_read():
    block = converted_but(DECODER + "ffn_out").decoder_blocks[0]
    assert isinstance(block.ffn_in, Int8Dense)
    assert block.ffn_in.output_params is None
    assert isinstance(block.ffn_out, FloatDense)
    model = converted_but("output_projection")
    assert isinstance(model.output_projection, FloatDense)
    assert model.decoder_blocks[-1].ffn_norm.output_params is None


def test_each_cache_has_the_type_that_its_product_multiplies():
    model = converted_but(DECODER + "self_attention/AV", DECODER + "cross_attention/QK")
    encoded = model.encode(tf.constant(make_data()["source"]))
    cache = model.start_cache(encoded, 2, 4)
    assert [x.dtype for x in cache["self"][0]] == [tf.int8, tf.float32]
    assert [x.dtype for x in cache["cross"][0]] == [tf.float32, tf.int8]


# ---- models of a user ----


@pytest.fixture(scope="module")
def functional():
    keras.utils.set_random_seed(3)
    ids = keras.Input((6,), dtype="int32")
    h = Int8Gather(20, 16)(ids)
    h = QuantDense(32, activation="relu", name="first")(h)
    h = QuantAttention(2, 8, name="attention")(h, h, use_causal_mask=True)
    h = keras.layers.ReLU()(h)
    h = QuantDense(16, activation="tanh", name="second")(h)
    model = keras.Model(ids, keras.layers.Dense(3, name="plain")(h))
    data = np.random.default_rng(0).integers(0, 20, (32, 6)).astype(np.int32)
    calibrate_eagerly(model, data, "independent")
    return model, data


def test_a_functional_model_takes_the_same_policies(functional):
    model, data = functional
    mixed = convert(model, policy="paper", sample=data)
    assert floats(mixed) == ["attention/QK", "attention/AV", "second", "plain"]
    assert isinstance(mixed.get_layer("attention"), MixedAttention)
    assert isinstance(mixed.get_layer("second"), FloatDense)
    exact, quantized = model.predict(data, verbose=0), mixed.predict(data, verbose=0)
    assert np.mean(np.square(exact - quantized)) < 3e-3 * np.mean(np.square(exact))
    every = convert(model, policy="float32")
    np.testing.assert_allclose(every.predict(data, verbose=0), exact, atol=1e-5)
    assert every.conversion_report.precision == "float32"


def test_what_has_no_int8_form_can_be_named_as_float_only(functional):
    model, _ = functional
    convert(model, policy={"plain": "float32"})
    with pytest.raises(ValueError, match="'plain' can't become INT8: Dense is plain: "):
        convert(model, policy={"plain": "int8"})
