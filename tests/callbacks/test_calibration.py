"""`CalibrationCallback` in `evaluate`, `predict` and `fit`."""

import keras
import numpy as np
import pytest

from keras_int8nmt.calibration import CalibrationError, Histogram, observers
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.layers.quant_dense import QuantDense

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype(np.float32)
Y = RNG.normal(size=(48, 2)).astype(np.float32)


def build_model(jit_compile=None):
    model = keras.Sequential([keras.Input((6,)), QuantDense(5, activation="relu"), QuantDense(2)])
    if jit_compile is not None:
        model.compile("sgd", "mse", jit_compile=jit_compile)
    return model


def first(model):
    return observers(model)[0][1]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_evaluate_calibrates_and_changes_no_result(jit_compile):
    model = build_model(jit_compile)
    before = model.evaluate(X, Y, verbose=0)
    callback = CalibrationCallback()
    assert model.evaluate(X, Y, callbacks=[callback], verbose=0) == before
    assert model.evaluate(X, Y, verbose=0) == before
    expected = Histogram().add(X)
    np.testing.assert_array_equal(first(model).to_histogram().counts, expected.counts)
    assert set(callback.thresholds) == {path for path, _ in observers(model)}
    assert all(o.is_calibrated for _, o in observers(model))
    # After ReLU: one side.
    assert observers(model)[1][1].params().zero_point == 0


def test_thresholds_do_not_depend_on_whether_a_graph_is_traced():
    for mode in ("independent", "symmetric", "naive"):
        graph, eager = build_model(), build_model()
        for old, new in zip(graph.variables, eager.variables, strict=True):
            new.assign(old)
        eager.run_eagerly = True
        for model in (graph, eager):
            model.predict(X, verbose=0, callbacks=[CalibrationCallback(mode)])
        for (_, one), (_, other) in zip(observers(graph), observers(eager), strict=True):
            np.testing.assert_array_equal(one.to_histogram().counts, other.to_histogram().counts)
            assert one.thresholds() == other.thresholds()


def test_what_the_callback_is_told_reaches_the_thresholds():
    model = build_model()
    callback = CalibrationCallback("percentile:90", unsigned=False)
    model.predict(X, verbose=0, callbacks=[callback])
    _, high = first(model).thresholds()
    assert np.mean(np.abs(X) <= high) == pytest.approx(0.9, abs=0.01)
    assert observers(model)[1][1].params().dtype == "int8"


def test_a_second_evaluate_calibrates_anew_without_retracing():
    model = build_model(False)
    model.evaluate(X, Y, verbose=0)
    model.evaluate(X, Y, callbacks=[CalibrationCallback(mode="naive")], verbose=0)
    assert first(model).thresholds() == (X.min(), X.max())
    model.evaluate(2 * X, Y, callbacks=[CalibrationCallback(mode="naive")], verbose=0)
    assert first(model).thresholds() == (2 * X.min(), 2 * X.max())
    assert first(model).to_histogram().total == X.size


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_predict_needs_no_compiled_model(jit_compile):
    model = build_model(jit_compile)
    expected = model.predict(X, verbose=0)
    output = model.predict(X, callbacks=[CalibrationCallback("independent")], verbose=0)
    np.testing.assert_array_equal(output, expected)
    assert first(model).to_histogram().total == X.size
    assert first(model).params().dtype == "uint8"


@pytest.mark.parametrize(
    ("jit_compile", "epoch", "observed"),
    [(False, None, 1), (False, 0, 3), (False, 1, 2), (True, 1, 2)],
)
def test_fit_observes_from_the_epoch_asked_for(jit_compile, epoch, observed):
    model = build_model(jit_compile)
    callback = CalibrationCallback(epoch=epoch)
    model.fit(X, Y, validation_data=(X, Y), epochs=3, callbacks=[callback], verbose=0)
    assert first(model).to_histogram().total == observed * X.size
    assert all(o.is_calibrated for _, o in observers(model))
    assert int(first(model).switch.numpy()) == 0


def test_an_epoch_that_never_comes_is_an_error():
    with pytest.raises(ValueError, match="epoch 3"):
        build_model(False).fit(X, Y, epochs=3, callbacks=[CalibrationCallback(epoch=3)], verbose=0)


def test_nan_is_named_and_the_model_is_float_again():
    model = build_model()
    bad = X.copy()
    bad[3, 2] = np.inf
    with pytest.raises(CalibrationError, match="input_observer: 1 values were NaN or infinite"):
        model.predict(bad, callbacks=[CalibrationCallback()], verbose=0)
    assert int(first(model).switch.numpy()) == 0


def test_a_run_after_one_that_failed_half_way():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model = build_model(False)
    callback = CalibrationCallback(epoch=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=2, callbacks=[callback, Stop()], verbose=0)
    model.evaluate(X, Y, callbacks=[callback], verbose=0)
    assert first(model).to_histogram().total == X.size


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="'kl'"):
        CalibrationCallback(mode="kl")
    with pytest.raises(ValueError, match="'percentile:-1'"):
        CalibrationCallback(mode="percentile:-1")
    with pytest.raises(ValueError, match="-1"):
        CalibrationCallback(epoch=-1)
