"""Calibration and INT8 under a strategy of TensorFlow: all replicas are heard."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Logical devices are set before TensorFlow's first use, so in a process of its own.
PROGRAM = """
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import keras
import numpy as np

from keras_int8nmt import CalibrationCallback, QuantDense, convert
from keras_int8nmt.layers.model_state import observers

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).normal(size=(64, 16)).astype("float32")
# In the half of its batch that the second replica gets, as is the smallest number of the first.
x[12, 3], x[1, 2] = 9.0, -7.0


def calibrated():
    keras.utils.set_random_seed(1)
    layers = [QuantDense(16, activation="relu"), QuantDense(4)]
    model = keras.Sequential([keras.Input((16,)), *layers])
    callback = CalibrationCallback()
    model.predict(x, batch_size=16, verbose=0, callbacks=[callback])
    return model, callback.thresholds


alone, expected = calibrated()
with strategy.scope():
    model, found = calibrated()
np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-6)
for (_, one), (_, other) in zip(observers(alone), observers(model), strict=True):
    first, second = one.to_histogram(), other.to_histogram()
    np.testing.assert_array_equal(first.counts, second.counts)
    # TensorFlow's float sums of a half batch and a whole one may differ in the last bit.
    edges = [(h.minimum, h.maximum) for h in (first, second)]
    np.testing.assert_allclose(*edges, rtol=1e-6)
    statistics = one.channel_statistics, other.channel_statistics
    np.testing.assert_allclose(*(s.means() for s in statistics), atol=1e-5)
    np.testing.assert_allclose(*(s.largest_magnitudes() for s in statistics), rtol=1e-6)
    # Gathered once, they count once.
    other.gather()
    assert other.to_histogram().total == first.total
reference = convert(alone).predict(x, verbose=0)
int8 = convert(model)
with strategy.scope():
    found = int8.predict(x, batch_size=16, verbose=0)
np.testing.assert_allclose(found, reference, atol=1e-5)
print("both replicas")
"""


@pytest.mark.slow
def test_two_logical_devices_calibrate_as_one_and_predict_in_int8():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "both replicas"
