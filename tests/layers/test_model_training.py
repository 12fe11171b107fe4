"""Quantization-aware training of whole models, from calibration to INT8."""

import functools

import keras
import numpy as np
import pytest

from keras_int8nmt import (
    CalibrationCallback,
    CalibrationError,
    Translator,
    build_transformer,
    convert,
    finish_training,
    native,
    prepare_training,
    simulate,
)
from keras_int8nmt.calibration import NotCalibratedError, observers, set_state
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense

RNG = np.random.default_rng(0)
IDS = RNG.integers(2, 20, (32, 6)).astype(np.int32)
IDS[::4, 4:] = 0
DATA = {
    "source": IDS,
    "target": np.concatenate([np.zeros((32, 1), np.int32), IDS[:, :-1]], axis=1),
}
WEIGHTS = (IDS > 0).astype(np.float32)


def compiled(model, rate=3e-3):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # XLA would compile each of these small models for longer than they train.
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    return model


def fit(model, epochs=3):
    # In one order, so that two trainings can be compared.
    data = {"sample_weight": WEIGHTS, "batch_size": 16, "shuffle": False, "verbose": 0}
    return model.fit(DATA, IDS, epochs=epochs, **data).history["loss"]


def make_transformer(mode):
    keras.utils.set_random_seed(0)
    model = build_transformer(
        source_vocabulary_size=20,
        num_encoder_layers=1,
        num_decoder_layers=1,
        model_dim=32,
        num_heads=2,
        ffn_dim=48,
        dropout=0.0,
        max_length=16,
    )
    model.predict(DATA, verbose=0, callbacks=[CalibrationCallback(mode=mode)])
    return model


@functools.cache
def trained(mode):
    """`(model, losses, thresholds before)` of a Transformer trained for a while; read only."""
    model = make_transformer(mode)
    before = {path: o.thresholds() for path, o in observers(model) if o.is_calibrated}
    prepare_training(model, threshold_rate=5.0)
    return model, fit(compiled(model), 12), before


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["symmetric", "independent"])
def test_loss_falls_and_every_threshold_moves(mode):
    model, losses, before = trained(mode)
    assert losses[-1] < 0.7 * losses[0]
    after = {path: o.thresholds() for path, o in observers(model) if o.is_calibrated}
    assert after.keys() == before.keys()
    assert all(after[path][1] != before[path][1] for path in before)
    # A kind of codes stays what it was.
    zero_points = {o.params().zero_point > 0 for _, o in observers(model) if o.is_calibrated}
    assert zero_points == ({False} if mode == "symmetric" else {False, True})
    for path, observer in observers(model):
        if observer.signed:
            assert observer.params().dtype == "int8", path


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["symmetric", "independent"])
def test_the_converted_model_computes_what_was_trained(mode):
    """To 1e-5 of the largest logit, except where a value lies at a rounding tie."""
    model, _, _ = trained(mode)
    simulated = model(DATA).numpy()
    # What was trained has weights of 8 bits, which not every CPU takes by default.
    int8 = convert(model, weight_bits=8)
    differences = np.abs(int8(DATA).numpy() - simulated) / np.abs(simulated).max()
    moved = np.any(differences > 1e-5, axis=-1)
    assert np.mean(moved) < 0.15
    assert differences.max() < 0.1


@pytest.mark.slow
@pytest.mark.skipif(native.functions() is None, reason=f"no native library: {native.reason()}")
def test_the_fast_path_translates_as_the_layer_path():
    int8 = convert(trained("independent")[0])
    sources = [[int(i) for i in row if i] + [1] for row in IDS]
    found = []
    for path in ("fast", "layers"):
        with Translator(int8, None, path=path, beam_size=4, max_length=10) as translator:
            assert translator.path == path
            results = translator.translate_ids(sources)
        found.append([[(h.tokens, h.score) for h in r.hypotheses] for r in results])
    assert found[0] == found[1]
    assert len({str(hypotheses) for hypotheses in found[0]}) > 8


X = RNG.normal(size=(32, 6)).astype(np.float32)


def make_small(mode="independent"):
    """Two layers: an input of both signs, and one after ReLU."""
    keras.utils.set_random_seed(0)
    layers = [QuantDense(8, activation="relu"), QuantDense(20)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.predict(X, verbose=0, callbacks=[CalibrationCallback(mode=mode)])
    return model


def fit_small(model, epochs=3):
    return model.fit(X, IDS[:, 0], epochs=epochs, shuffle=False, verbose=0).history["loss"]


def test_finishing_gives_the_same_int8_model_and_a_float_one():
    model = make_small()
    plain, untrained = model(X).numpy(), convert(model)(X).numpy()
    prepare_training(model)
    np.testing.assert_array_equal(convert(model)(X), untrained)
    finish_training(model)
    np.testing.assert_array_equal(model(X), plain)
    prepare_training(model, threshold_rate=5.0)
    fit_small(compiled(model))
    int8, simulated = convert(model)(X).numpy(), model(X).numpy()
    assert np.abs(int8 - untrained).max() > 0
    thresholds = finish_training(model)
    found = {path: tuple(map(float, o.thresholds())) for path, o in observers(model)}
    assert thresholds == found
    np.testing.assert_array_equal(convert(model)(X), int8)
    assert np.abs(model(X) - simulated).max() > 0
    simulate(model)
    largest = np.abs(simulated).max()
    np.testing.assert_allclose(model(X), simulated, atol=0.02 * largest)
    # A tie of two codes may go the other way.
    assert np.mean(np.abs(model(X) - simulated) < 1e-5 * largest) > 0.9


@pytest.mark.slow
def test_training_goes_on_after_saving_as_if_nothing_had_been(tmp_path):
    model = make_transformer("independent")
    prepare_training(model, threshold_rate=5.0)
    fit(compiled(model))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(DATA), model(DATA))
    assert fit(again) == pytest.approx(fit(model), rel=1e-5)
    for (path, ours), (_, theirs) in zip(observers(again), observers(model), strict=True):
        np.testing.assert_allclose(ours.thresholds(), theirs.thresholds(), rtol=1e-4, err_msg=path)
    np.testing.assert_allclose(convert(again)(DATA), convert(model)(DATA), atol=0.05)


class Block(keras.layers.Layer):
    """A layer of a user, which Keras rebuilds without knowing what it holds."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = QuantAttention(2, 4, name="attention")
        self.dense = QuantDense(8, activation="relu", name="dense")

    def build(self, shape):
        self.attention.build(shape, shape)
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x + self.attention(x, x))


def make_graph():
    keras.utils.set_random_seed(0)
    ids = keras.Input((6,), dtype="int32")
    x = Int8Gather(20, 8, name="table")(ids)
    x = x + QuantAttention(2, 4, name="attention")(x, x, use_causal_mask=True)
    x = QuantDense(16, activation="relu", name="first")(Block(name="block")(x))
    model = keras.Model(ids, QuantDense(20, name="second")(x))
    model.predict(IDS, verbose=0, callbacks=[CalibrationCallback(mode="independent")])
    return model


def fit_graph(model, epochs=3):
    settings = {"batch_size": 16, "shuffle": False, "verbose": 0}
    return model.fit(IDS, IDS, sample_weight=WEIGHTS, epochs=epochs, **settings).history["loss"]


@pytest.mark.slow
def test_functional_models_train_convert_and_are_saved_half_way(tmp_path):
    model = make_graph()
    prepare_training(model, threshold_rate=5.0)
    losses = fit_graph(compiled(model), 10)
    assert losses[-1] < losses[0]
    simulated = model.predict(IDS, verbose=0)
    int8 = convert(model, policy={}, weight_bits=8)
    differences = np.abs(int8.predict(IDS, verbose=0) - simulated) / np.abs(simulated).max()
    assert np.mean(np.any(differences > 1e-5, axis=-1)) < 0.2
    assert differences.max() < 0.1
    model.save(tmp_path / "m.keras")
    objects = {"Block": Block}
    again = keras.models.load_model(tmp_path / "m.keras", objects, compile=False)
    np.testing.assert_array_equal(again.predict(IDS, verbose=0), simulated)
    assert len(again.trainable_weights) == len(model.trainable_weights)
    losses = fit_graph(compiled(again))
    assert losses[-1] < losses[0]


def test_a_saved_functional_model_keeps_its_optimizer(tmp_path):
    model = make_small()
    prepare_training(model)
    fit_small(compiled(model))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(X), model(X))
    assert fit_small(again) == pytest.approx(fit_small(model), rel=1e-5)
    finish_training(again)
    again.save(tmp_path / "finished.keras")
    finished = keras.models.load_model(tmp_path / "finished.keras")
    assert [w.name for w in finished.trainable_weights] == ["kernel", "bias", "kernel", "bias"]
    assert [o.thresholds() for _, o in observers(finished)] == [
        o.thresholds() for _, o in observers(again)
    ]


def test_fit_asks_for_compile_once_other_weights_train():
    model = compiled(make_small())
    for change in (prepare_training, finish_training):
        change(model)
        with pytest.raises(ValueError, match="compile"):
            fit_small(model)
        fit_small(compiled(model), 1)


def test_what_cannot_be_trained_is_named():
    model = make_small()
    with pytest.raises(ValueError, match="no thresholds that train"):
        finish_training(model)
    with pytest.raises(ValueError, match=r"threshold_rate.*-1"):
        prepare_training(model, threshold_rate=-1)
    prepare_training(model)
    path, observer = observers(model)[0]
    observer.learned.log2_growth.assign(np.full(2, np.nan, np.float32))
    with pytest.raises(CalibrationError, match=f"diverged(.|\n)*{path}"):
        finish_training(model)
    observer.clear_thresholds()
    with pytest.raises(NotCalibratedError, match=path):
        prepare_training(model)
    set_state(model, "float")
