"""The exported names, and that the drop-in layers have the signatures of their Keras parents."""

from __future__ import annotations

import importlib
import types

import keras
import pytest
from helpers.layer_contract import assert_same_signature

import keras_int8nmt

NAMES = {
    "AutotuneResult",
    "BatchTranslator",
    "CalibrationCallback",
    "CalibrationError",
    "Candidate",
    "ConversionError",
    "HuggingFaceTokenizer",
    "Int8Gather",
    "KerasInt8nmtError",
    "MarianTokenizer",
    "QuantAttention",
    "QuantCachedMultiHeadAttention",
    "QuantDense",
    "QuantEinsumDense",
    "QuantGroupQueryAttention",
    "QuantReversibleEmbedding",
    "QuantT5MultiHeadAttention",
    "SentencePieceTokenizer",
    "SubwordNMTTokenizer",
    "Tokenizer",
    "Transformer",
    "Translator",
    "__version__",
    "as_tokenizer",
    "autotune",
    "balance",
    "build_transformer",
    "calibrate",
    "convert",
    "copy_weights",
    "evaluate",
    "export_saved_model",
    "finish_training",
    "from_tfmot",
    "load_folder",
    "load_marian",
    "load_model",
    "load_plain_weights",
    "load_saved_model",
    "load_translator",
    "measure_quality",
    "parallel_dataset",
    "prepare_training",
    "quantize_model",
    "register_tokenizer",
    "save_folder",
    "save_plain_weights",
    "simulate",
    "train_sentencepiece",
    "write_report",
}
# Layers that conversion makes: names of earlier releases, which nobody looks for.
UNLISTED = {
    "DynamicAttention",
    "DynamicDense",
    "FloatDense",
    "FloatEmbedding",
    "Int8Attention",
    "Int8Dense",
    "Int8Embedding",
    "MixedAttention",
}
ROOMS = {
    "autotuning": {"AutotuneResult", "Candidate", "autotune"},
    "callbacks": {"CalibrationCallback"},
    "importers": {
        "CTranslate2FormatError",
        "MarianFormatError",
        "from_tfmot",
        "load_ctranslate2",
        "load_marian",
        "load_raw_marian",
    },
    "models": {"Transformer", "build_transformer", "copy_weights"},
    "serving": {"ServingError", "ServingSettings", "create_app", "serve"},
    "storage": {
        "ModelFolderError",
        "export_saved_model",
        "load_folder",
        "load_saved_model",
        "load_model",
        "open_model",
        "save_folder",
    },
    "tokenizers": {
        "BytePairEncoding",
        "HuggingFaceTokenizer",
        "KerasHubTokenizer",
        "MarianTokenizer",
        "PieceTokenizer",
        "SentencePieceTokenizer",
        "SubwordNMTTokenizer",
        "Tokenizer",
        "TokenizerError",
        "WordPieceTokenizer",
        "as_tokenizer",
        "register_tokenizer",
    },
    "training": {
        "CorpusError",
        "InverseSquareRoot",
        "PairCounts",
        "ParallelDataset",
        "SmoothedCrossEntropy",
        "parallel_dataset",
        "train_sentencepiece",
    },
    "translation": {
        "BatchTranslator",
        "Hypothesis",
        "Translation",
        "Translator",
        "load_translator",
    },
}
# Faces whose names other tests hold.
OTHER_FACES = {"calibration", "conversion", "evaluation", "layers", "ops", "report"}


def test_exported_names():
    assert set(keras_int8nmt.__all__) == NAMES
    assert sorted(keras_int8nmt.__all__) == dir(keras_int8nmt)


@pytest.mark.parametrize("name", sorted((NAMES | UNLISTED) - {"__version__"}))
def test_every_name_is_there_and_documented(name):
    assert getattr(keras_int8nmt, name).__doc__


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_export_their_names(room):
    face = importlib.import_module(f"keras_int8nmt.{room}")
    assert set(face.__all__) == ROOMS[room]
    for name in face.__all__:
        assert getattr(face, name).__doc__, name


@pytest.mark.parametrize("room", sorted({*ROOMS, *OTHER_FACES}))
def test_completion_of_a_room_shows_its_names_and_no_modules(room):
    face = importlib.import_module(f"keras_int8nmt.{room}")
    modules = [name for name in dir(face) if isinstance(getattr(face, name), types.ModuleType)]
    assert dir(face) == sorted(face.__all__)
    assert not modules


def test_an_unknown_name_is_an_attribute_error():
    for module in (keras_int8nmt, keras_int8nmt.storage):
        with pytest.raises(AttributeError, match="no_such_name"):
            module.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("ours", "parents"),
    [
        (keras_int8nmt.QuantDense, keras.layers.Dense),
        (keras_int8nmt.QuantEinsumDense, keras.layers.EinsumDense),
        (keras_int8nmt.QuantAttention, keras.layers.MultiHeadAttention),
        (keras_int8nmt.QuantGroupQueryAttention, keras.layers.GroupQueryAttention),
        (keras_int8nmt.Int8Gather, keras.layers.Embedding),
    ],
)
def test_constructors_have_the_signature_of_the_parent(ours, parents):
    assert_same_signature(ours.__init__, parents.__init__)


def test_calls_have_the_signature_of_the_parent():
    assert_same_signature(keras_int8nmt.QuantAttention.call, keras.layers.MultiHeadAttention.call)
    assert_same_signature(keras_int8nmt.QuantDense.call, keras.layers.Dense.call)
    assert_same_signature(keras_int8nmt.QuantEinsumDense.call, keras.layers.EinsumDense.call)
    assert_same_signature(keras_int8nmt.Int8Gather.call, keras.layers.Embedding.call)
    parent = keras.layers.GroupQueryAttention
    assert_same_signature(keras_int8nmt.QuantGroupQueryAttention.call, parent.call)
