"""`QuantGroupQueryAttention` against `keras.layers.GroupQueryAttention`, and its INT8."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from helpers.layer_contract import assert_same_signature, check_layer, copy_weights

from keras_int8nmt import QuantAttention, convert, native, prepare_training
from keras_int8nmt.layers.inference.frozen_group_query_attention import FrozenGroupQueryAttention
from keras_int8nmt.layers.model_state import observers, set_state, settle
from keras_int8nmt.layers.quant_group_query_attention import QuantGroupQueryAttention

RNG = np.random.default_rng(0)
B, T, S, D = 2, 4, 5, 12
HEADS, GROUPS, DIM = 6, 2, 3
SIZES = {"head_dim": DIM, "num_query_heads": HEADS, "num_key_value_heads": GROUPS}
X = RNG.normal(size=(B, T, D)).astype(np.float32)
V = RNG.normal(size=(B, S, D)).astype(np.float32)
K = RNG.normal(size=(B, S, D)).astype(np.float32)
KEYS = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)
QUERIES = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)

MASKS = {
    "none": {},
    "causal": {"use_causal_mask": True},
    "keys": {"value_mask": KEYS},
    "keys, values and queries": {"value_mask": KEYS, "key_mask": KEYS, "query_mask": QUERIES},
    "attention of rank 3": {"attention_mask": RNG.random((B, T, S)) > 0.3},
    "attention for all queries": {"attention_mask": (RNG.random((B, 1, S)) > 0.3).astype(np.int32)},
    "attention for each head": {"attention_mask": RNG.random((B, HEADS, T, S)) > 0.3},
    "no key at all": {"attention_mask": np.zeros((B, T, S), bool)},
    "all": {
        "attention_mask": RNG.random((B, T, S)) > 0.2,
        "value_mask": KEYS,
        "use_causal_mask": True,
    },
}


def pair(*inputs, **options):
    keras.utils.set_random_seed(0)
    options = {"bias_initializer": "normal", **SIZES, **options}
    ours, parent = QuantGroupQueryAttention(**options), keras.layers.GroupQueryAttention(**options)
    ours(*inputs), parent(*inputs)
    copy_weights(parent, ours)
    return ours, parent


def calibrated(layer, inputs=(X, V, K), masks=None, **options):
    """A model of the layer, on one input where it is given one tensor twice."""
    symbols = {id(x): keras.Input(x.shape[1:]) for x in inputs}
    given = [symbols[id(x)] for x in inputs]
    model = keras.Model(list(symbols.values()), layer(*given, **options))
    tensors = {id(x): keras.ops.convert_to_tensor(x) for x in inputs}
    set_state(model, "observing")
    layer(*(tensors[id(x)] for x in inputs), **(masks or options))
    set_state(model, "float")
    settle(model, "naive")
    return model


def test_passes_the_layer_contract(tmp_path):
    init = {**SIZES, "dropout": 0.1, "seed": 1}
    inputs, shape = [X, V, K], (B, T, D)
    check_layer(
        QuantGroupQueryAttention, init, lambda layer: layer(X, V, K), inputs, shape, tmp_path
    )


def test_has_the_signature_of_group_query_attention():
    parent = keras.layers.GroupQueryAttention
    assert_same_signature(QuantGroupQueryAttention.__init__, parent.__init__)
    assert_same_signature(QuantGroupQueryAttention.call, parent.call)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gives_what_the_parent_gives_with_every_mask(name, dropout):
    ours, parent = pair(X, V, K, dropout=dropout)
    expected = parent(X, V, K, **MASKS[name])
    np.testing.assert_allclose(ours(X, V, K, **MASKS[name]), expected, atol=1e-6)
    assert bool(ours.unsupported_reasons()) == (name == "attention for each head")


@pytest.mark.parametrize(
    "options",
    [
        {"num_key_value_heads": HEADS},
        {"num_key_value_heads": 1},
        {"use_bias": False},
        {"activity_regularizer": "l2", "kernel_regularizer": "l2"},
        {"dtype": "float64"},
        {"use_gate": True},
        {"sliding_window": 2},
    ],
)
def test_options_are_the_parents(options):
    try:
        keras.layers.GroupQueryAttention(**{**SIZES, **options})
    except (TypeError, ValueError):
        pytest.skip(f"Keras {keras.__version__} has no {options}")
    ours, parent = pair(X, X, **options)
    np.testing.assert_allclose(
        ours(X, X, use_causal_mask=True), parent(X, X, use_causal_mask=True), atol=1e-6
    )
    np.testing.assert_allclose(ours.losses, parent.losses, rtol=1e-5)
    float_alone = {"use_gate", "sliding_window"} & set(options)
    assert [r.split()[0] for r in ours.unsupported_reasons()] == sorted(float_alone)


def test_takes_implicit_keras_masks_and_does_not_observe_what_they_hide():
    ids = np.array([[3, 4, 0, 0], [5, 1, 2, 0]])
    embedding = keras.layers.Embedding(10, D, mask_zero=True)
    ours, parent = pair(X, X)
    x = embedding(ids)
    ours.query_input.set_switch(1)
    ours.query.set_switch(1)
    ours.context.set_switch(1)
    output = ours(x, x)
    with warnings.catch_warnings():
        # Of the parent's projections.
        warnings.filterwarnings("ignore", message=".*does not support masking")
        np.testing.assert_allclose(output, parent(x, x), atol=1e-6)
    assert output._keras_mask.numpy().tolist() == (ids != 0).tolist()
    assert ours.query_input.to_histogram().total == 5 * D
    assert ours.query.to_histogram().total == 5 * HEADS * DIM
    assert ours.context.to_histogram().total == 5 * HEADS * DIM


def test_return_attention_scores_is_the_parents():
    ours, parent = pair(X, V)
    for own, theirs in zip(
        ours(X, V, return_attention_scores=True),
        parent(X, V, return_attention_scores=True),
        strict=True,
    ):
        np.testing.assert_allclose(own, theirs, atol=1e-6)
    assert "return_attention_scores" in ours.unsupported_reasons()[0]


def as_attention(layer, inputs):
    """A `QuantAttention` with the keys and values of `layer` repeated, and its thresholds."""
    repeated = QuantAttention(HEADS, DIM, output_shape=D)
    repeated(*inputs)
    weights = [w.numpy() for w in layer.trainable_weights]
    for target in repeated.trainable_weights:
        source = weights.pop(0)
        if source.shape != tuple(target.shape):
            source = np.repeat(source, HEADS // GROUPS, axis=-2)
        target.assign(source)
    for (_, theirs), (_, own) in zip(observers(layer), observers(repeated), strict=True):
        if theirs.is_calibrated:
            own.set_thresholds(*theirs.thresholds())
    return repeated


@pytest.mark.parametrize(
    ("inputs", "causal"),
    [((X, X), True), ((X, V), False), ((X, V, K), False)],
    ids=["self", "cross", "separate"],
)
def test_int8_is_that_of_attention_with_repeated_keys_and_values(inputs, causal, tmp_path):
    layer, parent = pair(*inputs)
    model = calibrated(layer, inputs, use_causal_mask=causal)
    data = list({id(x): x for x in inputs}.values())
    int8 = convert(model)
    assert int8.conversion_report.precision == "int8"
    assert len(int8.conversion_report.rows) == 6
    assert type(int8.layers[-1]) is FrozenGroupQueryAttention
    result = int8(data).numpy()

    repeated = as_attention(layer, inputs)
    symbols = [keras.Input(x.shape[1:]) for x in inputs]
    other = convert(keras.Model(symbols, repeated(*symbols, use_causal_mask=causal)))
    np.testing.assert_array_equal(result, other(list(inputs)))
    exact = parent(*inputs, use_causal_mask=causal).numpy()
    assert 0 < np.abs(result - exact).max() < 0.05 * np.abs(exact).max()

    set_state(model, "simulating")
    np.testing.assert_allclose(model(data), result, atol=0.02 * np.abs(exact).max())
    int8.save(tmp_path / "int8.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "int8.keras")(data), result)


@pytest.mark.parametrize("name", ["keys", "keys, values and queries", "attention of rank 3", "all"])
def test_int8_heeds_the_masks(name):
    layer, parent = pair(X, V, K)
    masks = MASKS[name]
    frozen = convert(calibrated(layer, masks=masks)).layers[-1]
    exact = parent(X, V, K, **masks).numpy()
    result = frozen(X, V, K, **masks).numpy()
    # Others attend to all keys alike in float and to none in INT8.
    allowed = masks.get("attention_mask", True) & masks.get("value_mask", KEYS | True)[:, None, :]
    if "use_causal_mask" in masks:
        allowed = allowed & np.tril(np.ones((T, S), bool))
    seen = allowed.any(-1) & masks.get("query_mask", QUERIES | True)
    assert seen.sum() > 4
    np.testing.assert_allclose(result[seen], exact[seen], atol=0.05 * np.abs(exact).max())
    with pytest.raises(ValueError, match="can't return attention scores"):
        frozen(X, V, K, return_attention_scores=True)


@pytest.mark.parametrize(
    "options",
    [
        {"activations": "dynamic"},
        {"policy": "float32"},
        {"policy": "paper"},
        {"softmax": "integer", "bias_correction": True},
    ],
    ids=str,
)
def test_every_way_to_convert_stays_near_the_float_layer(options, tmp_path):
    layer, parent = pair(X, V, K)
    converted = convert(calibrated(layer), **options)
    exact = parent(X, V, K).numpy()
    result = converted([X, V, K]).numpy()
    tolerance = 1e-6 if options.get("policy") == "float32" else 0.06
    np.testing.assert_allclose(result, exact, atol=tolerance * np.abs(exact).max())
    converted.save(tmp_path / "converted.keras")
    again = keras.models.load_model(tmp_path / "converted.keras")
    np.testing.assert_array_equal(again([X, V, K]), result)


def test_a_converted_layer_keeps_its_dtype_policy_and_takes_batches_of_no_rows():
    layer, _ = pair(X, X, dtype="mixed_bfloat16")
    int8 = convert(calibrated(layer))
    assert int8([X, V, K]).dtype == "bfloat16"
    if native.reason() is None:
        # Stock operations know no product of nothing.
        assert int8([X[:0], V[:0], K[:0]]).shape == (0, T, D)


def test_a_sample_tells_the_output_sqnr_of_every_product():
    rows = convert(calibrated(pair(X, V, K)[0]), sample=[X, V, K]).conversion_report.rows
    assert all(10 < row.output_sqnr_db < 100 for row in rows)


def test_thresholds_train():
    layer, _ = pair(X, V, K)
    model = calibrated(layer)
    prepare_training(model, threshold_rate=10.0)
    model.compile("adam", "mse", run_eagerly=True)
    before = layer.query.thresholds()
    model.fit([X, V, K], np.zeros((B, T, D)), epochs=2, verbose=0)
    assert layer.query.thresholds() != before
