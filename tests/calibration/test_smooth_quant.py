"""`balance` and `make_hard`: the float function stays, the ranges of channels do not."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers.models import make_data, make_transformer

from keras_int8nmt import Translator, balance, convert
from keras_int8nmt.bench.accuracy.hard import make_hard
from keras_int8nmt.calibration import (
    NotCalibratedError,
    reset,
    set_state,
    settle,
    without_statistics,
)
from keras_int8nmt.calibration.channel_scaling import scaling_sites
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.storage.state import state_of

# The kinds of sites that each model has, and how often.
MODELS = [
    ({"norm": "post"}, {"value": 3, "scores": 3, "ffn": 2, "norm": 1}),
    ({"norm": "post", "tie_embeddings": False}, {"value": 3, "scores": 3, "ffn": 2, "norm": 2}),
    ({"norm": "pre"}, {"value": 3, "scores": 3, "ffn": 2, "norm": 6}),
    ({"norm": "pre", "tie_embeddings": False, "activation": "gelu", "num_decoder_layers": 2},
     {"value": 5, "scores": 5, "norm": 10}),
]  # fmt: skip
IDS = [str(settings) for settings, _ in MODELS]


def calibrated(model, mode="independent"):
    """Eagerly, since tracing all observers takes longer than counting so little."""
    reset(model)
    set_state(model, "observing")
    model(make_data())
    set_state(model, "float")
    settle(model, mode)
    return model


@functools.cache
def make_model(mode="independent", **settings):
    """Shared by the tests, read only."""
    return calibrated(make_transformer.__wrapped__(None, **settings), mode)


def largest(site):
    return site.observer.channel_statistics.largest_magnitudes()


def largest_weights(site):
    return np.max([part.largest() for part in site.readers], axis=0)


def outputs(model):
    return np.asarray(plain_model(model)(make_data(seed=3)))


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("settings", "kinds"), MODELS, ids=IDS)
def test_a_balanced_model_has_the_float_outputs_and_other_weights(settings, kinds):
    model = make_model(**settings)
    before = [w.numpy() for w in model.variables]
    found = [site.kind for site in scaling_sites(model)]
    assert {kind: found.count(kind) for kind in found} == kinds
    balanced = balance(model)
    assert_close(outputs(balanced), outputs(model))
    assert state_of(balanced) == "float"
    for weight, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    for site, old in zip(scaling_sites(balanced), scaling_sites(model), strict=True):
        for new_part, part in zip(
            (*site.writers, *site.readers), (*old.writers, *old.readers), strict=True
        ):
            assert np.any(new_part.weight.numpy() != part.weight.numpy()), site.name


@pytest.mark.parametrize(("settings", "alpha"), [(MODELS[0][0], 0.3), (MODELS[2][0], 1.0)])
def test_ranges_are_those_of_equation_4(settings, alpha):
    model = make_model(**settings)
    balanced = calibrated(balance(model, alpha))
    for old, site in zip(scaling_sites(model), scaling_sites(balanced), strict=True):
        if site.kind == "scores":
            # Both sides are activations: their largest values are made equal.
            np.testing.assert_allclose(
                largest(site), site.other.channel_statistics.largest_magnitudes(), rtol=1e-4
            )
            continue
        weights = largest_weights(site)
        alive = (largest(old) > 0) & (weights > 0)
        if site.kind == "ffn":
            assert alive.sum() > 0.5 * len(alive)
        else:
            assert np.all(alive)
        # X / s = (X W)^(1 - alpha) and W s = (X W)^alpha: balanced once, s would be 1.
        again = largest(site)[alive] ** alpha / weights[alive] ** (1 - alpha)
        np.testing.assert_allclose(again, np.ones(alive.sum()), rtol=1e-3)
        if site.kind != "norm":
            # Of norms the readers have other columns by now as well.
            product = largest(old) * largest_weights(old)
            np.testing.assert_allclose(largest(site) * weights, product, rtol=1e-3, atol=1e-6)


def test_dead_channels_stay_as_they_are():
    model = make_transformer.__wrapped__(None)
    layer = model.encoder_blocks[0].ffn_in
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    layer.bias.assign(np.where(np.arange(64) < 3, -100.0, bias).astype(np.float32))
    weights = balance(calibrated(model)).encoder_blocks[0].ffn_in.kernel.numpy()
    np.testing.assert_array_equal(weights[:, :3], kernel[:, :3])
    assert np.all(np.isfinite(weights))
    assert np.any(weights[:, 3:] != kernel[:, 3:])


def test_padding_has_no_say():
    """The largest values are those of real tokens."""
    model = make_model()
    site = scaling_sites(model)[-1]
    count = site.observer.channel_statistics.count.numpy()
    np.testing.assert_array_equal(count, np.full(32, np.count_nonzero(make_data()["source"])))


def test_both_paths_run_a_balanced_model_alike():
    int8 = convert(calibrated(balance(make_model(norm="pre"))))
    source = [[int(t) for t in row if t] + [int8.eos_id] for row in make_data()["source"]]
    results = [
        Translator(int8, None, beam_size=2, max_length=10, path=path).translate_ids(source)
        for path in ("fast", "layers")
    ]
    for fast, layers in zip(*results, strict=True):
        assert [(h.tokens, h.score) for h in fast.hypotheses] == [
            (h.tokens, h.score) for h in layers.hypotheses
        ]


@pytest.mark.parametrize("settings", [{"norm": "post"}, {"norm": "pre"}], ids=str)
def test_outliers_hurt_int8_and_balancing_undoes_them(settings):
    model = make_model("naive", **settings)
    reference = outputs(model)
    hard = make_hard(model)
    np.testing.assert_array_equal(outputs(hard), reference)
    assert state_of(hard) == "float"
    calibrated(hard, "naive")

    def error(calibrated_model):
        found = np.asarray(convert(calibrated_model)(make_data(seed=3)))
        return np.sqrt(np.mean(np.square(found - reference)))

    easy = error(model)
    assert error(hard) > 3 * easy
    assert error(calibrated(balance(hard), "naive")) < 1.5 * easy


def test_outliers_are_the_same_ones_for_a_seed_and_as_many_as_asked_for():
    model = make_model()
    kernels = [
        make_hard(model, share=0.25, factor=8, seed=seed, kinds=("ffn",))
        .encoder_blocks[0]
        .ffn_in.kernel.numpy()
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])
    ratio = kernels[0] / model.encoder_blocks[0].ffn_in.kernel.numpy()
    assert sorted(ratio[0]) == [1.0] * 48 + [8.0] * 16
    assert np.all(ratio == ratio[:1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0.0}, r"`share` must be in \(0, 1\]; received 0.0"),
        ({"factor": 3}, "power of two of at least 2; received 3"),
        ({"kinds": ("other",)}, "no tensor of the kinds"),
    ],
)
def test_a_hard_model_refuses_what_it_can_not_make(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_hard(make_model(), **arguments)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan"), "half", True])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match="`alpha` must be a number from 0 to 1; received"):
        balance(make_model(), alpha)


def test_what_is_no_calibrated_transformer_is_refused():
    plain = plain_model(make_model())
    for model in (plain, convert(make_model()), "model"):
        with pytest.raises(ValueError, match="must be a Transformer with quant=True"):
            balance(model)
    with pytest.raises(
        NotCalibratedError, match=r"attention/context_observer, .* and 9 more\); calibrate first"
    ):
        balance(make_transformer(None, model_dim=16))
    assert without_statistics(make_model()) == []
