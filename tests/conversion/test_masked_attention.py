"""What a mask hides leaks into nothing, and what INT8 computes otherwise under one is told.

A row with no allowed key attends to all keys alike in float and to none in INT8: a random sparse
mask has such rows, and they alone made masked models look ten times worse than others.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import QuantAttention, convert
from keras_int8nmt.layers.model_state import observers, set_state, settle

B, T, D = 8, 10, 16
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, D)).astype(np.float32)
# A quarter of the rows of the first have no allowed key, none of the second.
SPARSE = RNG.random((B, T, T)) < 0.3
SPARSE[RNG.random((B, T)) < 0.25] = False
KEPT = SPARSE | np.eye(T, dtype=bool)
PADDING = np.arange(T) < RNG.integers(4, T, (B, 1))


def calibrated(name, mask, x=X):
    keras.utils.set_random_seed(0)
    given = keras.Input((T, D))
    masked = keras.Input(mask.shape[1:], dtype="bool")
    model = keras.Model([given, masked], QuantAttention(4, 8)(given, given, **{name: masked}))
    set_state(model, "observing")
    model([x, mask])
    set_state(model, "float")
    settle(model)
    return model


def relative_error(exact, approximate):
    return float(np.sqrt(np.mean((exact - approximate) ** 2) / np.mean(exact**2)))


@pytest.mark.parametrize(
    ("name", "mask"),
    [("attention_mask", KEPT), ("key_mask", PADDING), ("value_mask", PADDING)],
)
def test_with_a_key_for_each_row_the_error_is_that_of_unmasked_attention(name, mask):
    found = []
    for each in (np.ones_like(mask), mask):
        model = calibrated(name, each)
        exact, int8 = np.asarray(model([X, each])), np.asarray(convert(model)([X, each]))
        # Of padding the rows are computed and never observed.
        rows = each.any(-1) if each.ndim == 3 else each
        found.append(relative_error(exact[rows], int8[rows]))
    assert found[0] < 0.1
    assert found[1] < 1.5 * found[0]


def test_rows_with_no_allowed_key_are_all_that_differs():
    model = calibrated("attention_mask", SPARSE)
    exact, int8 = np.asarray(model([X, SPARSE])), np.asarray(convert(model)([X, SPARSE]))
    rows = SPARSE.any(-1)
    assert 0.1 < np.mean(~rows) < 0.5
    assert relative_error(exact[rows], int8[rows]) < 0.1
    assert relative_error(exact[~rows], int8[~rows]) > 0.5
    # No context: the bias of the output is left.
    bias = np.asarray(model.layers[-1].output_dense.bias)
    np.testing.assert_allclose(int8[~rows], np.broadcast_to(bias, int8[~rows].shape), atol=1e-6)


def test_what_padding_holds_changes_no_threshold_and_no_real_position():
    other = np.where(PADDING[..., None], X, 100.0 * X)
    models = [calibrated("value_mask", PADDING, x) for x in (X, other)]
    thresholds = [[o.thresholds() for _, o in observers(m) if o.is_calibrated] for m in models]
    assert thresholds[0] == thresholds[1]
    int8 = convert(models[0])
    a, b = (np.asarray(int8([x, PADDING]))[PADDING] for x in (X, other))
    np.testing.assert_array_equal(a, b)
