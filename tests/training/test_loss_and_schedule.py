"""Label smoothing on ids is that on one-hot labels; the learning rate is the paper's."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt.training import InverseSquareRoot, SmoothedCrossEntropy


def test_smoothed_loss_is_that_of_smoothed_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (2, 5, 7)).astype(np.float32)
    labels = rng.integers(0, 7, (2, 5))
    weights = (rng.random((2, 5)) < 0.6).astype(np.float32)
    smooth = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1, reduction=None
    )(np.eye(7)[labels], logits)
    expected = (np.array(smooth) * weights).sum() / weights.sum()
    found = SmoothedCrossEntropy(0.1)(labels, logits, sample_weight=weights)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_the_rate_is_the_papers():
    rate = InverseSquareRoot((512 * 4000) ** -0.5, warmup_steps=4000)
    # Steps of the paper are counted from 1.
    for step in (1, 100, 3999, 4000, 4001, 100_000):
        expected = 512**-0.5 * min(step**-0.5, step * 4000**-1.5)
        assert float(rate(step - 1)) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="`warmup_steps` must be at least 1; received 0"):
        InverseSquareRoot(1e-3, 0)


def test_loss_and_rate_are_saved_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    rate = InverseSquareRoot(0.25, warmup_steps=7)
    model.compile(keras.optimizers.Adam(rate), SmoothedCrossEntropy(0.3))
    x, y = np.ones((8, 3), np.float32), np.arange(8) % 4
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is SmoothedCrossEntropy
    assert loaded.loss.get_config() == SmoothedCrossEntropy(0.3).get_config()
    assert loaded.optimizer._learning_rate.get_config() == rate.get_config()
    assert float(loaded.evaluate(x, y, verbose=0)) == pytest.approx(
        float(model.evaluate(x, y, verbose=0))
    )
