"""The exported names, and that the drop-in layers have the signatures of their Keras parents."""

from __future__ import annotations

import keras
import pytest
from layer_contract import assert_same_signature

import keras_int8nmt

NAMES = {
    "AutotuneResult",
    "CalibrationCallback",
    "CalibrationError",
    "Candidate",
    "ConversionError",
    "DynamicAttention",
    "DynamicDense",
    "FloatDense",
    "FloatEmbedding",
    "Int8Attention",
    "Int8Dense",
    "Int8Embedding",
    "Int8Gather",
    "MarianTokenizer",
    "MixedAttention",
    "QuantAttention",
    "QuantDense",
    "Transformer",
    "Translator",
    "__version__",
    "balance",
    "autotune",
    "build_transformer",
    "convert",
    "export_saved_model",
    "finish_training",
    "from_tfmot",
    "load_folder",
    "load_marian",
    "load_saved_model",
    "prepare_training",
    "save_folder",
    "simulate",
    "write_report",
}


def test_exported_names():
    assert set(keras_int8nmt.__all__) == NAMES
    assert sorted(keras_int8nmt.__all__) == dir(keras_int8nmt)


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_every_name_is_there_and_documented(name):
    assert getattr(keras_int8nmt, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        keras_int8nmt.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("ours", "parents"),
    [
        (keras_int8nmt.QuantDense, keras.layers.Dense),
        (keras_int8nmt.QuantAttention, keras.layers.MultiHeadAttention),
        (keras_int8nmt.Int8Gather, keras.layers.Embedding),
    ],
)
def test_constructors_have_the_signature_of_the_parent(ours, parents):
    assert_same_signature(ours.__init__, parents.__init__)


def test_calls_have_the_signature_of_the_parent():
    assert_same_signature(keras_int8nmt.QuantAttention.call, keras.layers.MultiHeadAttention.call)
    assert_same_signature(keras_int8nmt.QuantDense.call, keras.layers.Dense.call)
    assert_same_signature(keras_int8nmt.Int8Gather.call, keras.layers.Embedding.call)
