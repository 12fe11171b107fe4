"""`quantize_model` and `convert` of the layer types that are not Dense, Embedding or attention."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import convert, quantize_model
from keras_int8nmt.layers.model_state import set_state, settle

RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 20, (6, 5)).astype(np.int32)


def mixer():
    """Each new type once, the table twice."""
    keras.utils.set_random_seed(0)
    table = keras.layers.ReversibleEmbedding(20, 8, name="table")
    ids = keras.Input((5,), dtype="int32")
    x = table(ids)
    x = x + keras.layers.GroupQueryAttention(4, 4, 2, name="attention")(x, x, use_causal_mask=True)
    x = keras.layers.EinsumDense("abc,cde->abde", (5, 2, 6), activation="relu", name="up")(x)
    x = keras.layers.EinsumDense("abde,dec->abc", (5, 8), bias_axes="c", name="down")(x)
    x = keras.layers.EinsumDense("abc,bcd->abd", (5, 8), name="kernel_a_position")(x)
    return keras.Model(ids, table(x, reverse=True))


def test_each_is_replaced_calibrated_converted_and_reported(tmp_path):
    if not hasattr(keras.layers, "ReversibleEmbedding"):
        pytest.skip(f"Keras {keras.__version__} has no ReversibleEmbedding")
    model = mixer()
    exact = model(IDS).numpy()
    quant = quantize_model(model)
    np.testing.assert_allclose(quant(IDS), exact, atol=1e-6)
    reasons = {row.path: row.reason for row in quant.quantization_report.rows if row.reason}
    assert list(reasons) == ["kernel_a_position"]
    assert "a kernel for each entry" in reasons["kernel_a_position"]
    set_state(quant, "observing")
    quant(IDS)
    set_state(quant, "float")
    settle(quant, "naive")
    for options in ({}, {"activations": "dynamic"}):
        int8 = convert(quant, **options)
        result = int8(IDS).numpy()
        assert 0 < np.abs(result - exact).max() < 0.05 * np.abs(exact).max()
        rows = {row.name: row.precision for row in int8.conversion_report.rows}
        assert {name for name, precision in rows.items() if precision == "float32"} == (
            {"kernel_a_position"} | ({"attention/QK", "attention/AV"} if options else set())
        )
        assert {"table/reverse", "up", "down", "attention/query"} <= set(rows)
        int8.save(tmp_path / "int8.keras")
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / "int8.keras")(IDS), result)


class Tied(keras.Model):
    """A model of a user's own, which tells nothing of its inputs."""

    def __init__(self):
        super().__init__()
        self.table = keras.layers.ReversibleEmbedding(20, 8)

    def call(self, ids):
        return self.table(self.table(ids), reverse=True)


@pytest.mark.parametrize("make", [mixer, Tied])
def test_a_tied_table_that_no_call_has_reached_has_its_product(make):
    if not hasattr(keras.layers, "ReversibleEmbedding"):
        pytest.skip(f"Keras {keras.__version__} has no ReversibleEmbedding")
    model = make()
    exact = model(IDS).numpy()
    int8 = convert(quantize_model(model), activations="dynamic")
    assert any(row.name.endswith("/reverse") for row in int8.conversion_report.rows)
    assert 0 < np.abs(int8(IDS).numpy() - exact).max() < 0.05 * np.abs(exact).max()
    called = quantize_model(model)
    called(IDS)
    np.testing.assert_array_equal(convert(called, activations="dynamic")(IDS), int8(IDS))


def test_a_table_of_rows_alone_has_no_product():
    if not hasattr(keras.layers, "ReversibleEmbedding"):
        pytest.skip(f"Keras {keras.__version__} has no ReversibleEmbedding")
    ids = keras.Input((5,), dtype="int32")
    x = keras.layers.ReversibleEmbedding(20, 8, name="table")(ids)
    model = keras.Model(ids, keras.layers.Dense(3, name="dense")(x))
    rows = convert(quantize_model(model), activations="dynamic").conversion_report.rows
    assert [row.name for row in rows] == ["dense"]


@pytest.mark.parametrize(
    ("attention", "sizes"), [("MultiHeadAttention", (2, 4)), ("GroupQueryAttention", (4, 2, 1))]
)
def test_attention_stays_float_whose_scores_an_unseen_call_wants(attention, sizes):
    x = keras.Input((5, 8))
    layer = getattr(keras.layers, attention)(*sizes, name="attention")
    y, scores = layer(x, x, return_attention_scores=True)
    model = keras.Model(x, [keras.layers.Dense(3, name="dense")(y), scores])
    data = RNG.normal(size=(2, 5, 8)).astype(np.float32)
    int8 = convert(quantize_model(model), activations="dynamic")
    np.testing.assert_allclose(int8(data)[1], model(data)[1], atol=1e-6)
    floats = [row for row in int8.conversion_report.rows if row.precision == "float32"]
    assert floats
    for row in floats:
        assert row.name.startswith("attention")
        assert "return_attention_scores" in row.reason


class RelativeAttention(keras.layers.Layer):
    """As users write it: projections of Keras' own, products by its own code."""

    def __init__(self):
        super().__init__(name="relative")
        self.projections = [keras.layers.Dense(8, name=name) for name in ("q", "k", "v", "out")]

    def call(self, x):
        q, k, v = (dense(x) for dense in self.projections[:3])
        scores = keras.ops.softmax(keras.ops.matmul(q, keras.ops.swapaxes(k, 1, 2)) + 1.0)
        return self.projections[3](keras.ops.matmul(scores, v))


def test_products_by_the_own_code_of_an_attention_have_a_row():
    x = RNG.normal(size=(2, 5, 8)).astype(np.float32)
    symbol = keras.Input((5, 8))
    model = keras.Model(symbol, RelativeAttention()(symbol))
    report = convert(quantize_model(model), activations="dynamic").conversion_report
    kept = [row for row in report.rows if row.precision == "float32"]
    assert [row.precision for row in report.rows if row not in kept] == ["int8"] * 4
    assert kept
    for row in kept:
        assert "relative" in row.name
        assert "RelativeAttention's own code" in row.reason
    np.testing.assert_allclose(quantize_model(model)(x), model(x), atol=1e-6)
