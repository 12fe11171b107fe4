"""Folders of models that were compiled with objects that Keras can't write, or not find again."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from helpers.models import make_data, tiny_model

from keras_int8nmt import QuantDense, load_folder, save_folder


def schedule():
    """Without a configuration, of a class that nobody can import."""

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.01

    return Schedule()


def own_loss(y, p):
    return keras.ops.mean(keras.ops.square(y - p))


def sequential():
    return keras.Sequential([keras.Input((8,)), QuantDense(8), QuantDense(2)]), np.ones((2, 8), "f")


def translating():
    return tiny_model(), make_data(2)


@pytest.mark.parametrize(
    ("make", "what"),
    [(sequential, "function"), (sequential, "schedule"), (translating, "lambda")],
)
def test_the_model_comes_back_and_is_not_compiled(make, what, tmp_path):
    model, x = make()
    loss = {"function": own_loss, "lambda": lambda y, p: p, "schedule": "mse"}[what]
    model.compile("sgd" if what != "schedule" else keras.optimizers.SGD(schedule()), loss)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        save_folder(model, tmp_path / "model")
        loaded, _, _ = load_folder(tmp_path / "model")
    assert sum("without what it was compiled with" in str(one.message) for one in told) == 1
    assert model.compiled
    assert model.loss is loss
    assert type(loaded) is type(model)
    assert not loaded.compiled
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(model(x)))


def test_a_loss_that_is_known_by_name_stays(tmp_path):
    model, _ = sequential()
    model.compile("adam", own_loss)
    model.optimizer.build(model.trainable_variables)
    save_folder(model, tmp_path / "model")
    with keras.saving.custom_object_scope({"own_loss": own_loss}):
        loaded, _, _ = load_folder(tmp_path / "model")
    assert loaded.compiled
    assert loaded.loss is own_loss
