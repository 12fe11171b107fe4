"""`QuantAttention` against `keras.layers.MultiHeadAttention`; masks, cache, states."""

import inspect

import keras
import numpy as np
import pytest
from helpers.layer_contract import assert_same_signature, check_layer, copy_weights
from keras import ops

from keras_int8nmt.calibration import settle
from keras_int8nmt.layers.quant_attention import QuantAttention

RNG = np.random.default_rng(0)
B, T, S, D = 2, 4, 5, 12
X = RNG.normal(size=(B, T, D)).astype(np.float32)
V = RNG.normal(size=(B, S, 10)).astype(np.float32)
K = RNG.normal(size=(B, S, 9)).astype(np.float32)
KEYS = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)
QUERIES = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)


def pair(*inputs, **options):
    """Our layer and its parent, with the same weights, built on `inputs`."""
    keras.utils.set_random_seed(0)
    ours, parent = QuantAttention(**options), keras.layers.MultiHeadAttention(**options)
    ours(*inputs), parent(*inputs)
    copy_weights(parent, ours)
    return ours, parent


def test_passes_the_layer_contract(tmp_path):
    init = {"num_heads": 2, "key_dim": 3, "value_dim": 4, "dropout": 0.1, "seed": 1}
    check_layer(QuantAttention, init, lambda layer: layer(X, V, K), [X, V, K], (B, T, D), tmp_path)


def test_has_the_signature_of_multi_head_attention():
    parent = keras.layers.MultiHeadAttention
    assert_same_signature(QuantAttention.__init__, parent.__init__)
    assert_same_signature(QuantAttention.call, parent.call)


MASKS = {
    "none": {},
    "causal": {"use_causal_mask": True},
    "keys": {"value_mask": KEYS},
    "keys_and_values": {"value_mask": KEYS, "key_mask": KEYS[::-1]},
    "attention_2d": {"attention_mask": RNG.random((T, S)) > 0.3},
    "attention_3d": {"attention_mask": RNG.random((B, T, S)) > 0.3},
    "attention_int": {"attention_mask": (RNG.random((B, 1, S)) > 0.3).astype(np.int32)},
    "attention_4d": {"attention_mask": RNG.random((B, 2, T, S)) > 0.3},
    "no_key_at_all": {"attention_mask": np.zeros((B, T, S), bool)},
    "all": {
        "attention_mask": RNG.random((B, T, S)) > 0.2,
        "value_mask": KEYS,
        "use_causal_mask": True,
    },
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gives_what_the_parent_gives_with_every_mask(name, dropout):
    ours, parent = pair(X, V, K, num_heads=2, key_dim=3, value_dim=4, dropout=dropout)
    expected = parent(X, V, K, **MASKS[name])
    np.testing.assert_allclose(ours(X, V, K, **MASKS[name]), expected, atol=1e-6)
    assert bool(ours.unsupported_reasons()) == (name == "attention_4d")


def test_takes_implicit_keras_masks():
    ids = np.array([[3, 4, 0, 0], [5, 1, 2, 0]])
    embedding = keras.layers.Embedding(10, D, mask_zero=True)
    ours, parent = pair(X, X, num_heads=2, key_dim=3)
    for causal in (False, True):
        expected = parent(embedding(ids), embedding(ids), use_causal_mask=causal)
        x = embedding(ids)
        output = ours(x, x, use_causal_mask=causal)
        np.testing.assert_allclose(output, expected, atol=1e-6)
        assert output._keras_mask.numpy().tolist() == (ids != 0).tolist()


@pytest.mark.parametrize("scores", [False, True])
def test_an_explicit_query_mask_is_what_it_is_in_the_parent(scores):
    ours, parent = pair(X, V, num_heads=2, key_dim=3)
    call = {"query_mask": QUERIES, "return_attention_scores": scores}
    found, expected = ours(X, V, **call), parent(X, V, **call)
    for one, other in zip(found, expected, strict=True) if scores else [(found, expected)]:
        np.testing.assert_allclose(one, other, atol=1e-6)


def blocks(attention, count):
    """An embedding with a mask, and `count` attentions each of which reads what it is added to."""
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(50, 16, mask_zero=True)(ids)
    for _ in range(count):
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attention(2, 8)(x, x)]))
    return keras.Model(ids, x)


def test_masks_end_where_they_end_in_the_parent():
    ids = np.random.default_rng(0).integers(1, 50, (4, 6))
    ids[:2, 4:] = 0
    for count in (1, 2):
        parents, ours = (
            blocks(keras.layers.MultiHeadAttention, count),
            blocks(QuantAttention, count),
        )
        ours.set_weights(parents.get_weights())
        expected, found = parents(ids), ours(ids)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        masks = [getattr(y, "_keras_mask", None) is None for y in (expected, found)]
        assert masks[0] == masks[1]
        np.testing.assert_allclose(
            ours.predict(ids, verbose=0), parents.predict(ids, verbose=0), atol=1e-5
        )


def test_activity_losses_are_the_parents():
    ours, parent = pair(X, X, num_heads=2, key_dim=3, activity_regularizer="l2")
    ours(X, X)
    parent(X, X)
    found, expected = ([float(loss) for loss in layer.losses] for layer in (ours, parent))
    assert len(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_dropout_in_training_is_the_parents():
    ours, parent = pair(X, V, num_heads=2, key_dim=3, dropout=0.5, seed=7)
    expected = parent(X, V, training=True)
    np.testing.assert_allclose(ours(X, V, training=True), expected, atol=1e-6)
    assert not np.allclose(expected, parent(X, V, training=False))


WIDE = RNG.normal(size=(B, 3, T, D)).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "inputs", "call", "reason"),
    [
        ({"attention_axes": (2,)}, (WIDE, WIDE), {}, "rank"),
        ({}, (WIDE, WIDE), {}, "rank"),
        ({"output_shape": (2, 3)}, (X, V), {}, "output_shape"),
        ({}, (X, V), {"return_attention_scores": True}, "return_attention_scores"),
        ({"sliding_window": 2}, (X, X), {"use_causal_mask": True}, "sliding_window"),
        ({"use_gate": True}, (X, V), {}, "use_gate"),
    ],
)
def test_what_int8_cannot_do_is_the_parents_and_named(options, inputs, call, reason):
    known = inspect.signature(keras.layers.MultiHeadAttention.__init__).parameters
    if not set(options) <= set(known):
        pytest.skip(f"Keras {keras.__version__} does not know {', '.join(options)}")
    ours, parent = pair(*inputs, num_heads=2, key_dim=3, **options)
    expected = parent(*inputs, **call)
    for own, theirs in zip(
        keras.tree.flatten(ours(*inputs, **call)), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(own, theirs, atol=1e-6)
    assert [r for r in ours.unsupported_reasons() if reason in r]
    with pytest.raises(ValueError, match="cache"):
        ours(*inputs, **call, cache=(X, X))


@pytest.mark.parametrize("state", [0, 2])
def test_step_by_step_equals_all_at_once(state):
    ours, _ = pair(X, X, num_heads=2, key_dim=3, value_dim=4)
    for observer in ours._observers():
        observer.set_thresholds(-3.0, 3.0)
        observer.set_switch(state)
    expected = ours(X, X, use_causal_mask=True).numpy()
    cache = ours.make_cache(B, 7)
    for t in range(T):
        step = X[:, t : t + 1]
        output, cache = ours(step, step, cache=cache, cache_index=ops.convert_to_tensor(t))
        np.testing.assert_allclose(output[:, 0], expected[:, t], atol=1e-6)
    # Several positions at once, causal among themselves.
    cache = ours.make_cache(B, 7)
    for start, end in ((0, 1), (1, T)):
        step = X[:, start:end]
        output, cache = ours(step, step, use_causal_mask=True, cache=cache, cache_index=start)
        np.testing.assert_allclose(output, expected[:, start:end], atol=1e-6)


def test_a_computed_cache_serves_cross_attention():
    ours, _ = pair(X, V, K, num_heads=2, key_dim=3)
    expected = ours(X, V, K, value_mask=KEYS)
    cache = ours.compute_cache(V, K)
    output, again = ours(X, None, value_mask=KEYS, cache=cache)
    np.testing.assert_allclose(output, expected, atol=1e-6)
    assert again[0] is cache[0]


def test_a_mask_of_the_written_positions_is_put_where_they_are():
    ours, _ = pair(X, X, num_heads=2, key_dim=3)
    cache = ours(X, X, cache=ours.make_cache(B, 10), cache_index=0)[1]
    written = np.array([[1, 1, 0, 1], [1, 0, 0, 1]], bool)
    whole = np.concatenate([np.ones((B, 4), bool), written, np.ones((B, 2), bool)], axis=1)
    a, _ = ours(X, X, cache=cache, cache_index=4, value_mask=written)
    b, _ = ours(X, X, cache=cache, cache_index=4, value_mask=whole)
    np.testing.assert_array_equal(a, b)


def test_bad_masks_and_caches_are_named():
    ours, _ = pair(X, V, num_heads=2, key_dim=3)
    with pytest.raises(ValueError, match="value_mask"):
        ours(X, V, value_mask=np.ones((B, S, 1), bool))
    with pytest.raises(ValueError, match="attention_mask"):
        ours(X, V, attention_mask=np.ones((T,), bool))
    with pytest.raises(ValueError, match="cache_index"):
        ours(X, V, cache_index=0)


def observing(layer, state=1):
    for observer in layer._observers():
        observer.set_switch(state)


def test_masked_positions_are_not_observed():
    for mask in (
        {"value_mask": KEYS, "query_mask": QUERIES},
        {"attention_mask": KEYS[:, None, :], "query_mask": QUERIES},
    ):
        ours, _ = pair(X, V, num_heads=2, key_dim=3)
        observing(ours)
        ours(X, V, **mask)
        totals = [o.to_histogram().total for o in ours._observers()]
        assert totals == [
            QUERIES.sum() * D,
            KEYS.sum() * 10,
            0,
            QUERIES.sum() * 6,
            KEYS.sum() * 6,
            KEYS.sum() * 6,
            QUERIES.sum() * 6,
        ]


def test_a_shared_input_is_observed_once():
    ours, _ = pair(X, X, num_heads=2, key_dim=3)
    observing(ours)
    x = ops.convert_to_tensor(X)
    ours(x, x, attention_mask=QUERIES[:, None, :])
    assert ours.query_input.to_histogram().total == QUERIES.sum() * D
    assert ours.value_input.to_histogram().total == 0
    assert ours.key_input.to_histogram().total == 0


def calibrated(*inputs, mode="symmetric", **options):
    ours, _ = pair(*inputs, **options)
    observing(ours)
    ours(*inputs)
    observing(ours, 0)
    settle(ours, mode)
    return ours


@pytest.mark.parametrize("mode", ["naive", "symmetric", "independent", "conjugate"])
def test_simulation_is_near_float_and_differs(mode):
    ours = calibrated(X, V, K, mode=mode, num_heads=2, key_dim=3)
    expected = ours(X, V, K).numpy()
    observing(ours, 2)
    output = ours(X, V, K).numpy()
    assert 0 < np.abs(output - expected).max() < 0.1 * np.abs(expected).max()


def test_an_unseen_input_observer_is_stood_in_for():
    x = ops.convert_to_tensor(X)
    ours = calibrated(x, x, num_heads=2, key_dim=3)
    observing(ours, 2)
    expected = ours(x, x).numpy()
    np.testing.assert_array_equal(ours(x, ops.convert_to_tensor(X.copy())), expected)


def test_a_row_without_keys_has_no_context_when_simulating():
    ours = calibrated(X, V, num_heads=2, key_dim=3, bias_initializer="ones")
    observing(ours, 2)
    mask = np.ones((B, T, S), bool)
    mask[0, 1] = False
    output = ours(X, V, attention_mask=mask).numpy()
    assert np.isfinite(output).all()
    np.testing.assert_array_equal(output[0, 1], ours.output_dense.bias.numpy())


def test_simulated_probabilities_are_those_of_uint8():
    ours = calibrated(X, V, num_heads=1, key_dim=3)
    observing(ours, 2)
    # Keys that do not matter: every probability is 1/5, that is 51/255 exactly.
    ours.key_dense.kernel.assign(np.zeros((10, 1, 3)))
    context = []
    ours.context.tap = lambda x: context.append(np.asarray(x))
    ours(X, V)
    params = ours.value.params()
    v = ours.value_input.fake_quantize(ops.convert_to_tensor(V))
    kernel = ours.query_input.quantize_weights(ours.value_dense.kernel)
    values = np.einsum("bsd,dnh->bsnh", v, kernel)
    rounded = np.rint(values * params.scale).clip(-127, 127) / params.scale
    np.testing.assert_allclose(
        context[0], rounded.mean(1, keepdims=True).repeat(T, 1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_trains_while_simulating(jit_compile):
    ours = calibrated(X, V, num_heads=2, key_dim=3, dropout=0.1)
    observing(ours, 2)
    inputs = [keras.Input((T, D)), keras.Input((S, 10))]
    model = keras.Model(inputs, ours(*inputs))
    model.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=jit_compile)
    target = RNG.normal(size=X.shape) * 0.1
    before = [w.numpy().copy() for w in ours.trainable_weights]
    losses = model.fit([X, V], target, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    # Only the key bias has no gradient: it adds the same to every score of a row.
    changed = [
        not np.allclose(a, w.numpy()) for a, w in zip(before, ours.trainable_weights, strict=False)
    ]
    assert all(changed)
