"""`QuantT5MultiHeadAttention`: T5's bias and KerasHub's caches, float and INT8.

`test_keras_hub_layers.py` holds it against KerasHub's own.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.layer_contract import check_layer

from keras_int8nmt import convert, prepare_training
from keras_int8nmt.layers.inference.frozen_t5_attention import FrozenT5Attention
from keras_int8nmt.layers.model_state import set_state, settle
from keras_int8nmt.layers.position_bias import MASKED
from keras_int8nmt.layers.quant_t5_attention import QuantT5MultiHeadAttention

RNG = np.random.default_rng(0)
B, T, S, D, HEADS, DIM = 2, 4, 5, 12, 2, 3
X = RNG.normal(size=(B, T, D)).astype(np.float32)
V = RNG.normal(size=(B, S, D)).astype(np.float32)
CAUSAL = np.tril(np.ones((1, T, T), np.int32))
PADDED = np.array([[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]], np.int32)
SELF = {"inputs": (X,), "mask": CAUSAL}
CROSS = {"inputs": (X, V), "mask": PADDED}


def layer_of(inputs, *, relative=True, dropout=0.0, **options):
    keras.utils.set_random_seed(0)
    layer = QuantT5MultiHeadAttention(True, D, DIM, HEADS, dropout, relative, **options)
    call(layer, inputs)
    return layer


def call(layer, inputs, **given):
    """Output and bias for one input, or for queries and what they attend to."""
    states = inputs[1] if len(inputs) > 1 else None
    return layer(inputs[0], key_value_states=states, **given)[:2]


@keras.saving.register_keras_serializable(package="tests")
class FirstOutput(keras.layers.Layer):
    """What Keras takes in a Functional model, of whose layers none gives a None."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build(input_shape)

    def call(self, x):
        return self.layer(x)[0]

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


class Holder(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs, allowed=None):
        return call(self.layer, inputs, mask=allowed)[0]


def calibrated(inputs, mask=None, **options):
    """A layer, and a model of it that has seen the inputs."""
    layer = layer_of(inputs, **options)
    model = Holder(layer)
    tensors = tuple(keras.ops.convert_to_tensor(x) for x in inputs)
    set_state(model, "observing")
    model(tensors, allowed=mask)
    set_state(model, "float")
    settle(model, "naive")
    return layer, model


def step_by_step(layer, dtype="float32"):
    """Self-attention of X, a position at a time, and the last cache."""
    cache = keras.ops.zeros((B, 2, T, HEADS, DIM), dtype)
    outputs = []
    for t in range(T):
        mask = CAUSAL[:, t : t + 1]
        x = X[:, t : t + 1]
        output, _, cache = layer(x, mask=mask, cache=cache, cache_update_index=t)
        cache = keras.ops.cast(cache, dtype)
        outputs.append(output)
    return np.concatenate(outputs, axis=1), cache


def test_passes_the_layer_contract(tmp_path):
    init = {
        "is_decoder": True,
        "hidden_dim": D,
        "key_value_dim": DIM,
        "num_heads": HEADS,
        # Its seed, which is KerasHub's to choose, stands in no configuration.
        "dropout": 0.0,
        "use_relative_attention_bias": True,
    }
    check_layer(
        QuantT5MultiHeadAttention,
        init,
        lambda layer: layer(X)[0],
        [X],
        (B, T, D),
        tmp_path,
        connect=lambda layer, tensors: FirstOutput(layer)(*tensors),
    )


@pytest.mark.parametrize("case", [SELF, CROSS], ids=["self", "cross"])
@pytest.mark.parametrize("relative", [True, False])
def test_simulated_and_converted_are_alike_and_near_float(case, relative):
    layer, model = calibrated(**case, relative=relative)
    exact, bias = call(layer, case["inputs"], mask=case["mask"])
    int8 = convert(model)
    frozen = int8.layer
    assert type(frozen) is FrozenT5Attention
    rows = int8.conversion_report.rows
    assert len(rows) == 6
    assert {row.precision for row in rows} == {"int8"}
    result, its_bias = call(frozen, case["inputs"], mask=case["mask"])
    np.testing.assert_array_equal(its_bias, bias)
    assert 0 < np.abs(result - exact).max() < 0.05 * np.abs(exact).max()
    set_state(model, "simulating")
    simulated, _ = call(layer, case["inputs"], mask=case["mask"])
    # The last bit of a float sum may tip a code.
    np.testing.assert_allclose(simulated, result, atol=0.01 * np.abs(exact).max())
    assert np.mean(np.abs(simulated - result) > 1e-5 * np.abs(exact).max()) < 0.1
    set_state(model, "float")


def test_scores_are_not_divided_by_the_root_of_a_head():
    layer, _ = calibrated(**CROSS, relative=False)
    q, k, v = (
        keras.ops.reshape(dense(x), (B, -1, HEADS, DIM))
        for dense, x in zip(layer.dense_layers()[:3], (X, V, V), strict=True)
    )
    probabilities = keras.ops.softmax(keras.ops.einsum("bqnd,bknd->bnqk", q, k), axis=-1)
    context = keras.ops.einsum("bnqk,bknd->bqnd", probabilities, v)
    expected = layer.output_projector(keras.ops.reshape(context, (B, T, -1)))
    np.testing.assert_allclose(call(layer, (X, V))[0], expected, atol=1e-5)


@pytest.mark.parametrize("state", ["float", "int8"])
def test_a_bias_that_is_handed_on_serves_in_the_place_of_mask_and_table(state):
    layer, model = calibrated(**SELF)
    if state == "int8":
        layer = convert(model).layer
    output, bias = call(layer, (X,), mask=CAUSAL)
    again, same = call(layer, (X,), position_bias=bias, mask=np.zeros_like(CAUSAL))
    np.testing.assert_array_equal(again, output)
    np.testing.assert_array_equal(same, bias)
    assert bias.shape == (1, HEADS, T, T)
    assert (np.asarray(bias)[0, :, 0, 1:] < MASKED / 2).all()


@pytest.mark.parametrize("state", ["float", "simulating", "int8", "dynamic", "mixed"])
def test_step_by_step_is_all_at_once(state):
    layer, model = calibrated(**SELF)
    if state in ("float", "simulating"):
        set_state(model, state)
    else:
        options = {"dynamic": {"activations": "dynamic"}, "mixed": {"policy": "paper"}}
        layer = convert(model, **options.get(state, {})).layer
    steps, _ = step_by_step(layer)
    np.testing.assert_allclose(steps, call(layer, (X,), mask=CAUSAL)[0], atol=1e-5)


def test_a_cache_of_bfloat16_holds_the_same_codes():
    frozen = convert(calibrated(**SELF)[1]).layer
    exact, _ = step_by_step(frozen)
    rounded, half = step_by_step(frozen, "bfloat16")
    assert half.dtype == "bfloat16"
    np.testing.assert_array_equal(rounded, exact)


@pytest.mark.parametrize("state", ["float", "int8"])
def test_a_cache_that_is_not_updated_is_read_as_it_is(state):
    layer, model = calibrated(**CROSS)
    if state == "int8":
        layer = convert(model).layer
    empty = keras.ops.zeros((B, 2, S, HEADS, DIM))
    given = {"key_value_states": V, "mask": PADDED}
    _, _, cache = layer(X[:, :1], cache=empty, cache_update_index=0, **given)
    output, _, same = layer(X, cache=cache, **given)
    np.testing.assert_allclose(output, call(layer, (X, V), mask=PADDED)[0], atol=1e-5)
    assert same is cache
    with pytest.raises(ValueError, match="`cache_update_index` needs `cache`"):
        layer(X, cache_update_index=0)


def test_keys_that_nobody_sees_are_not_observed():
    mask = np.ones((B, T, T), np.int32)
    mask[:, :, 2:] = 0
    layer, _ = calibrated((X,), mask)
    assert layer.query_input.to_histogram().total == B * 2 * D
    assert layer.key.to_histogram().total == B * 2 * HEADS * DIM
    layer, _ = calibrated(**CROSS)
    assert layer.value_input.to_histogram().total == PADDED.sum() * D
    assert layer.query.to_histogram().total == B * T * HEADS * DIM


def test_masked_keys_change_nothing_in_int8():
    frozen = convert(calibrated(**CROSS)[1]).layer
    other = V.copy()
    other[0, 3:] = 100.0
    results = [call(frozen, (X, v), mask=PADDED)[0] for v in (V, other)]
    np.testing.assert_array_equal(results[0], results[1])


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
def test_every_way_to_convert_stays_near_the_float_layer(options):
    layer, model = calibrated(**SELF)
    exact, _ = call(layer, (X,), mask=CAUSAL)
    result, _ = call(convert(model, **options).layer, (X,), mask=CAUSAL)
    tolerance = 1e-6 if options.get("policy") == "float32" else 0.06
    np.testing.assert_allclose(result, exact, atol=tolerance * np.abs(exact).max())


@pytest.mark.parametrize("relative", [True, False])
def test_a_converted_layer_is_made_again_of_its_configuration_and_arrays(relative):
    frozen = convert(calibrated(**SELF, relative=relative)[1]).layer
    again = FrozenT5Attention.from_config(frozen.get_config())
    store = {}
    frozen.save_own_variables(store)
    assert ("relative_attention_bias" in store) == relative
    again.load_own_variables(store)
    for old, new in zip(*(call(x, (X,), mask=CAUSAL) for x in (frozen, again)), strict=True):
        np.testing.assert_array_equal(old, new)
    if relative:
        store["relative_attention_bias"] = store["relative_attention_bias"][:4]
        with pytest.raises(ValueError, match=r"expects 'relative_attention_bias' .* \(32, 2\)"):
            again.load_own_variables(store)


def test_a_converted_layer_keeps_its_dtype_policy():
    layer, model = calibrated(**SELF, dtype="mixed_bfloat16")
    frozen = convert(model).layer
    for own, converted in zip(*(call(x, (X,), mask=CAUSAL) for x in (layer, frozen)), strict=True):
        assert own.dtype == converted.dtype == "bfloat16"


def test_thresholds_train_and_dropout_is_of_training_alone():
    layer, model = calibrated(**SELF, dropout=0.5)
    outputs = [call(layer, (X,), mask=CAUSAL, training=t)[0] for t in (False, False, True)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[2] - outputs[0]).max() > 0
    prepare_training(model, threshold_rate=10.0)
    model.compile("adam", "mse", run_eagerly=True)
    before = layer.query.thresholds()
    model.fit((X,), np.zeros((B, T, D)), epochs=2, verbose=0)
    assert layer.query.thresholds() != before
