"""`ChannelStatistics`: in the graph what NumPy computes by channel over all data at once."""

from __future__ import annotations

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import QuantAttention, QuantDense
from keras_int8nmt.calibration import settle, without_statistics
from keras_int8nmt.layers.observing.observer import Observer

RNG = np.random.default_rng(0)
BATCHES = [
    (RNG.normal(size=(n, 3, 5)) * np.arange(1, 6) + np.arange(5)).astype(np.float32)
    for n in (4, 1, 7)
]


def built(shape=(None, None, 5), **kwargs):
    observer = Observer(**kwargs)
    observer.build(shape)
    return observer


def assert_statistics(observer, rows):
    """`rows` `[n, c]` are all values that were to be counted."""
    seen = observer.channel_statistics
    np.testing.assert_array_equal(seen.count.numpy(), np.full(rows.shape[1], len(rows)))
    np.testing.assert_allclose(seen.means(), rows.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_array_equal(seen.largest_magnitudes(), np.abs(rows).max(axis=0))


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_statistics_are_those_of_all_data_at_once(how):
    observer = built()
    observer.set_switch(1)
    step = observer if how == "eager" else tf.function(observer.watch, jit_compile=how == "xla")
    for batch in BATCHES:
        step(batch)
    assert_statistics(observer, np.concatenate(BATCHES).reshape(-1, 5))
    observer.set_switch(0)
    step(BATCHES[0] * 100)
    assert_statistics(observer, np.concatenate(BATCHES).reshape(-1, 5))
    observer.reset()
    assert not observer.channel_statistics.is_seen
    observer.observe(BATCHES[0])
    assert_statistics(observer, BATCHES[0].reshape(-1, 5))


def test_the_channels_of_heads_lie_side_by_side():
    observer = built((None, None, 2, 3), channel_axes=2)
    x = RNG.normal(size=(2, 4, 2, 3)).astype(np.float32)
    observer.observe(x)
    assert_statistics(observer, x.reshape(-1, 6))


def test_masked_and_bad_values_count_nothing():
    observer = built((None, None, 2))
    x = np.array([[[1, 2], [50, np.nan]], [[3, -6], [5, 9]]], np.float32)
    observer.observe(x, np.array([[True, False], [True, True]]))
    assert_statistics(observer, np.array([[1, 2], [3, -6], [5, 9]], np.float32))
    observer.observe(np.array([[[np.inf, 1]]], np.float32))
    np.testing.assert_array_equal(observer.channel_statistics.count.numpy(), [3, 4])
    np.testing.assert_array_equal(observer.channel_statistics.largest_magnitudes(), [5, 9])


def test_a_mean_of_many_batches_stays_exact():
    observer = built((None, 1))
    for _ in range(300):
        observer.observe(np.full((4096, 1), 0.1, np.float32))
    np.testing.assert_allclose(observer.channel_statistics.means(), [0.1], rtol=1e-6)


def test_an_unknown_number_of_channels_has_no_statistics():
    observer = built(None)
    observer.observe(BATCHES[0])
    assert observer.to_histogram().total == BATCHES[0].size
    assert not observer.channel_statistics.is_seen
    assert observer.channel_statistics.variables == []


def test_padding_is_no_part_of_what_attention_saw():
    layer = QuantAttention(2, 3)
    x = RNG.normal(size=(2, 4, 6)).astype(np.float32)
    mask = np.array([[True] * 4, [True, True, False, False]])
    # One tensor for both, so that the queries have the mask of the keys.
    tensor = keras.ops.convert_to_tensor(x)
    layer(tensor, tensor, value_mask=mask)
    layer.query_input.set_switch(1)
    layer.context.set_switch(1)
    layer(tensor, tensor, value_mask=mask)
    assert_statistics(layer.query_input, x[mask])
    context = layer.context.channel_statistics
    np.testing.assert_array_equal(context.count.numpy(), np.full(6, 6))
    assert np.all(context.largest_magnitudes() > 0)


def without_channel_statistics(path, target):
    """The saved model as a release without channel statistics would have written it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name != "model.weights.h5":
                new.writestr(name, old.read(name))
                continue
            weights = target.with_suffix(".h5")
            weights.write_bytes(old.read(name))
            with h5py.File(weights, "a") as file:
                names: list[str] = []
                file.visit(names.append)
                groups = [n for n in names if n.endswith("/channel_statistics")]
                assert groups
                for group in groups:
                    del file[group]
            new.write(weights, name)


def test_statistics_are_saved_and_older_files_load_without(tmp_path):
    model = keras.Sequential([keras.Input((5,)), QuantDense(4)])
    observer = model.layers[0].input_observer
    observer.observe(BATCHES[0].reshape(-1, 5))
    settle(model, "naive")
    model.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    assert_statistics(again.layers[0].input_observer, BATCHES[0].reshape(-1, 5))
    without_channel_statistics(tmp_path / "new.keras", tmp_path / "old.keras")
    old = keras.models.load_model(tmp_path / "old.keras")
    assert old.layers[0].input_observer.params() == observer.params()
    assert without_statistics(old) == [old.layers[0].input_observer.path]
    assert without_statistics(model) == []
