"""Every product that a converted model computes in float has a row, and multiplications add up."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import QuantAttention, QuantDense, convert
from keras_int8nmt.conversion import ConversionReport
from keras_int8nmt.layers import QuantEinsumDense
from keras_int8nmt.ops.functions import stock_operations

L = keras.layers


class Block(L.Layer):
    """A layer of a user's own: a plain Dense, a product of its own weights, and one of tensors."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(12, name="inner")

    def build(self, shape):
        self.dense.build(shape)
        self.table = self.add_weight(shape=(12, 8), name="table")

    def call(self, x):
        x = keras.ops.matmul(self.dense(x), self.table)
        scores = keras.ops.einsum("btd,bsd->bts", x, x)
        return keras.ops.matmul(scores, x)


def reversed_axes(x):
    return keras.ops.transpose(x, (0, 2, 1))


# With [6, 8] for a batch entry: what multiplies, its rows and how often.
KINDS = {
    "attention": (
        lambda x: L.MultiHeadAttention(2, 4, name="kept")(x, x),
        {
            "kept/query": 6 * 64,
            "kept/key": 6 * 64,
            "kept/value": 6 * 64,
            "kept/einsum": 6 * 6 * 8,
            "kept/einsum_1": 6 * 6 * 8,
            "kept/attention_output": 6 * 64,
        },
    ),
    "einsum": (
        lambda x: L.EinsumDense("abc,cd->abd", (None, 10), name="kept")(x),
        {"kept": 6 * 80},
    ),
    "convolution": (lambda x: L.Conv1D(5, 3, name="kept")(x), {"kept": 4 * 3 * 8 * 5}),
    "strides": (
        lambda x: L.Conv1DTranspose(5, 3, strides=2, name="kept")(x),
        {"kept": 6 * 8 * 3 * 5},
    ),
    "depthwise": (lambda x: L.DepthwiseConv1D(3, name="kept")(x), {"kept": 4 * 3 * 8}),
    "in time": (
        lambda x: L.TimeDistributed(L.Dense(5, name="dense"), name="kept")(x),
        {"kept/dense": 6 * 40},
    ),
    "recurrent": (lambda x: L.LSTM(4, return_sequences=True, name="kept")(x), None),
    "gated": (lambda x: L.Bidirectional(L.GRU(4, return_sequences=True), name="kept")(x), None),
    "a user's layer": (
        lambda x: Block(name="kept")(x),
        {
            "kept/inner": 6 * 8 * 12,
            "kept/Tensordot": 6 * 12 * 8,
            "kept/einsum": 6 * 6 * 8,
            "kept/MatMul": 6 * 6 * 8,
        },
    ),
    "operation": (
        lambda x: keras.ops.matmul(x, reversed_axes(x)),
        6 * 6 * 8,
    ),
    "einsum operation": (lambda x: keras.ops.einsum("btd,bsd->bts", x, x), 6 * 6 * 8),
    "dot layer": (lambda x: L.Dot((2, 2), name="kept")([x, x]), 6 * 6 * 8),
}


def converted(kept, length=6, **options):
    x = keras.Input((length, 8))
    return convert(keras.Model(x, QuantDense(3, name="last")(kept(x))), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_row_with_its_reason_and_its_multiplications(kind):
    kept, expected = KINDS[kind]
    report = converted(kept, activations="dynamic").conversion_report
    assert report.precision == "mixed"
    *floats, last = sorted(report.rows, key=lambda row: row.precision == "int8")
    assert (last.name, last.precision) == ("last", "int8")
    assert all(row.precision == "float32" and row.reason for row in floats)
    counts = {row.name: row.multiplications for row in floats}
    if isinstance(expected, dict):
        assert counts == expected
    elif expected is not None:
        assert list(counts.values()) == [expected]
    else:
        assert counts
        assert all(name.startswith("kept") for name in counts)
    counted = report.multiplications
    known = [c for c in counts.values() if c is not None]
    assert counted.float32 == sum(known)
    assert (counted.uncounted > 0) == (len(known) < len(counts))
    assert last.multiplications == counted.int8 > 0
    assert ConversionReport.from_json(report.to_json()) == report


def test_what_sums_nothing_and_what_is_of_whole_numbers_is_no_product():
    def kept(x):
        outer = keras.ops.einsum("bt,bd->btd", x[:, :, 0], x[:, 0])
        ones = keras.ops.ones((6, 6), "int32")
        return outer + x * keras.ops.cast(keras.ops.matmul(ones, ones)[0, 0], "float32")

    report = converted(kept, activations="dynamic").conversion_report
    assert report.precision == "int8"
    assert report.multiplications.float32 == 0
    assert report.multiplications.int8_share == 1.0


def model_of_attention(length):
    x = keras.Input((length, 8))
    h = QuantAttention(2, 4)(x, x)
    return keras.Model(x, QuantDense(3)(keras.layers.Dense(8, name="plain")(h)))


def test_the_share_counts_every_product_of_an_attention():
    plain = 6 * 64
    report = convert(model_of_attention(6), activations="dynamic").conversion_report
    # The float Dense becomes INT8 only where somebody says so; QK^T and AV are float here.
    assert report.multiplications.int8 == 6 * (4 * 64 + 24)
    assert report.multiplications.float32 == plain + 2 * 6 * 6 * 8
    share = report.multiplications.int8_share
    assert f"{100 * share:.1f} % of" in report.to_text()


def test_lengths_that_vary_are_counted_with_a_sample_alone():
    model = model_of_attention(None)
    x = np.zeros((4, 6, 8), np.float32)
    varying = convert(model, activations="dynamic").conversion_report
    assert varying.multiplications.int8_share is None
    assert "not counted" in varying.to_text()
    fixed = convert(model, activations="dynamic", sample=x).conversion_report
    assert fixed.multiplications.uncounted == 0
    other = convert(model_of_attention(6), activations="dynamic").conversion_report
    assert fixed.multiplications == other.multiplications


def test_a_frozen_layer_that_holds_another_is_counted():
    x = keras.Input((6, 8))
    model = keras.Model(x, QuantEinsumDense("abc,cd->abd", (None, 10), name="last")(x))
    (row,) = convert(model, activations="dynamic").conversion_report.rows
    assert (row.name, row.precision, row.multiplications) == ("last", "int8", 6 * 80)


def test_stock_operations_count_as_the_library_does():
    with stock_operations():
        stock = convert(model_of_attention(6), activations="dynamic").conversion_report
    native = convert(model_of_attention(6), activations="dynamic").conversion_report
    assert stock.multiplications == native.multiplications


def test_numbered_names_are_not_taken_for_one_another():
    x = keras.Input((6, 8))
    # TensorFlow calls `dense` in the scope `dense_1`, and `dense_1` in another.
    h = L.Dense(4, name="dense_1")(L.Dense(16, name="dense")(x))
    model = keras.Model(x, QuantDense(3, name="dense_2")(h))
    rows = convert(model, activations="dynamic").conversion_report.rows
    assert {row.name: row.multiplications for row in rows} == {
        "dense": 6 * 8 * 16,
        "dense_1": 6 * 16 * 4,
        "dense_2": 6 * 4 * 3,
    }
    assert [row.precision for row in rows] == ["float32", "float32", "int8"]


def test_a_layer_called_twice_is_one_row_counted_twice():
    shared = L.Dense(8, name="kept")
    report = converted(lambda x: shared(shared(x)), activations="dynamic").conversion_report
    assert [row.name for row in report.rows] == ["kept", "last"]
    assert report.rows[0].multiplications == 2 * 6 * 64


def test_a_nested_model_is_looked_into():
    def nested(x):
        i = keras.Input((6, 8))
        inner = keras.Model(i, QuantDense(8)(L.Conv1D(8, 1, name="conv")(i)), name="inner")
        return inner(x)

    report = converted(nested, activations="dynamic").conversion_report
    floats = [row for row in report.rows if row.precision == "float32"]
    assert [row.name.rpartition("/")[2] for row in floats] == ["conv"]
    assert floats[0].multiplications == 6 * 64


@pytest.mark.parametrize("names", [("model", "my dense"), ("my model", "dense")])
def test_names_that_no_graph_takes_leave_rows_of_layers_and_no_scope_open(names):
    x = keras.Input((6, 8), name="source tokens")
    y = QuantDense(3, name="last")(L.Dense(8, name=names[1])(x))
    model = keras.Model(x, y, name=names[0])
    report = convert(model, activations="dynamic").conversion_report
    assert [row.name for row in report.rows] == [names[1], "last"]
    assert report.multiplications is None
    later = L.Dense(1, name="later")
    later.build((None, 8))
    assert later.path == "later"


def test_the_name_of_an_input_is_no_scope():
    x = keras.Input((6, 8), name="source tokens")
    model = keras.Model(x, QuantDense(3, name="last")(x))
    report = convert(model, activations="dynamic").conversion_report
    assert report.multiplications.int8 == 6 * 24


@pytest.mark.parametrize(
    "content", ["[]", '{"int8": 1}', '{"int8": -1, "float32": 0, "uncounted": 0}']
)
def test_counts_of_a_report_from_elsewhere_are_checked(content):
    with pytest.raises(ValueError, match="multiplications"):
        ConversionReport.from_json(f'{{"rows": [], "multiplications": {content}}}')
