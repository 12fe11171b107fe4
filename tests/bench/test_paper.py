"""The parts of `bench paper` that compute, and Keras' own quantization."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt.bench.base_model import make_models
from keras_int8nmt.bench.paper.op_count import op_count, op_count_rows
from keras_int8nmt.bench.paper.sorting import in_batches, make_orders, padding_share
from keras_int8nmt.bench.translation.engines.keras_float import quantize, untied
from keras_int8nmt.bench.translation.models import model_settings
from keras_int8nmt.models.build import build_transformer

NANO = model_settings("nano")


def test_orders_by_tokens_words_and_none():
    texts = ["a b c", "d", "e f"]
    ids = [[1, 2, 3], [1, 2, 3, 4, 5], [1]]
    assert make_orders(texts, ids) == {
        "tokens": [1, 0, 2],
        "words": [0, 2, 1],
        "none": [0, 1, 2],
    }
    assert in_batches([1, 0, 2], 2) == [[1, 0], [2]]


def test_padding_is_what_is_not_a_token():
    lengths = [3, 5, 1]
    assert padding_share([[1, 0], [2]], lengths) == pytest.approx(2 / 11)
    assert padding_share([[1], [0], [2]], lengths) == 0.0


@pytest.fixture(scope="module")
def models():
    return make_models(NANO)


def test_conversion_leaves_fewer_operations(models):
    int8, plain = models
    rows = op_count_rows(int8, plain, build_transformer(True, **NANO), "nano")
    assert [row["peer"] > row["ours"] > 0 for row in rows] == [True, True]
    assert rows[1]["peer"] > rows[0]["peer"] == op_count(plain)


@pytest.mark.parametrize("tying", ["all", "output", "none"])
def test_an_untied_copy_computes_the_same(tying):
    model = build_transformer(False, **{**NANO, "tie_embeddings": tying})
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(0).normal(0, 0.3, weight.shape))
    inputs = {"source": np.array([[5, 6, 1]]), "target": np.array([[0, 7]])}
    copy = untied(model)
    assert copy.output_projection is not None
    np.testing.assert_allclose(copy(inputs), model(inputs), atol=1e-5)


@pytest.mark.slow
def test_keras_quantizes_and_names_what_it_leaves(models):
    _, plain = models
    model = untied(plain)
    inputs = {"source": np.array([[5, 6, 1]]), "target": np.array([[0, 7]])}
    before = keras.ops.convert_to_numpy(model(inputs))
    assert quantize(model) == ["LayerNormalization", "QK^T and AV of MultiHeadAttention"]
    after = keras.ops.convert_to_numpy(model(inputs))
    assert 0 < np.abs(after - before).max() < 0.3
