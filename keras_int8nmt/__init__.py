"""INT8 translation with Keras on ordinary CPUs (arXiv 1906.00532).

The names below are loaded on first use, so that `import keras_int8nmt` is light and chooses no
Keras back end by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face
from keras_int8nmt._registration import register_with_keras
from keras_int8nmt._version import __version__

_HOMES = {
    "QuantDense": "layers.quant_dense",
    "QuantEinsumDense": "layers.quant_einsum_dense",
    "QuantCachedMultiHeadAttention": "layers.quant_cached_attention",
    "QuantGroupQueryAttention": "layers.quant_group_query_attention",
    "QuantReversibleEmbedding": "layers.quant_reversible_embedding",
    "QuantT5MultiHeadAttention": "layers.quant_t5_attention",
    "QuantAttention": "layers.quant_attention",
    "Int8Gather": "layers.int8_gather",
    "load_plain_weights": "layers.plain_files",
    "save_plain_weights": "layers.plain_files",
    "build_transformer": "models.build",
    "copy_weights": "models.build",
    "Transformer": "models.transformer",
    "load_marian": "importers.marian",
    "from_tfmot": "importers.tfmot",
    "CalibrationCallback": "callbacks.calibration",
    "calibrate": "calibration.from_sentences",
    "balance": "calibration.smooth_quant",
    "parallel_dataset": "training.dataset",
    "train_sentencepiece": "training.vocabulary",
    "simulate": "layers.model_state",
    "prepare_training": "layers.model_training",
    "finish_training": "layers.model_training",
    "autotune": "autotuning.tune",
    "AutotuneResult": "autotuning.result",
    "Candidate": "autotuning.candidates",
    "convert": "conversion.converter",
    "quantize_model": "conversion.quantize",
    "Tokenizer": "tokenizers.protocol",
    "as_tokenizer": "tokenizers.adapters",
    "register_tokenizer": "tokenizers.kinds",
    "HuggingFaceTokenizer": "tokenizers.hugging_face",
    "SentencePieceTokenizer": "tokenizers.sentencepiece_tokenizer",
    "SubwordNMTTokenizer": "tokenizers.subword_tokenizer",
    "MarianTokenizer": "tokenizers.marian",
    "BatchTranslator": "translation.batch_translator",
    "Translator": "translation.translator",
    "load_translator": "translation.translator",
    "evaluate": "evaluation.measure",
    "measure_quality": "report.quality",
    "write_report": "report.write",
    "save_folder": "storage.model_folder",
    "load_folder": "storage.model_folder",
    "load_model": "storage.model_folder",
    "export_saved_model": "storage.saved_model",
    "load_saved_model": "storage.saved_model",
    "KerasInt8nmtError": "errors",
    "CalibrationError": "thresholds.errors",
    "ConversionError": "conversion.errors",
}
# What conversion makes and users never do; models hold them.
_FROZEN_LAYERS = {
    "DynamicAttention": "layers.inference.dynamic_attention",
    "DynamicDense": "layers.inference.dynamic_dense",
    "FloatDense": "layers.inference.float_dense",
    "FloatEmbedding": "layers.inference.float_embedding",
    "Int8Attention": "layers.inference.int8_attention",
    "Int8Dense": "layers.inference.int8_dense",
    "Int8Embedding": "layers.inference.int8_embedding",
    "MixedAttention": "layers.inference.mixed_attention",
}

__all__ = [
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
]

if TYPE_CHECKING:
    from keras_int8nmt.autotuning.candidates import Candidate
    from keras_int8nmt.autotuning.result import AutotuneResult
    from keras_int8nmt.autotuning.tune import autotune
    from keras_int8nmt.calibration.from_sentences import calibrate
    from keras_int8nmt.calibration.smooth_quant import balance
    from keras_int8nmt.callbacks.calibration import CalibrationCallback
    from keras_int8nmt.conversion.converter import convert
    from keras_int8nmt.conversion.errors import ConversionError
    from keras_int8nmt.conversion.quantize import quantize_model
    from keras_int8nmt.errors import KerasInt8nmtError
    from keras_int8nmt.evaluation.measure import evaluate
    from keras_int8nmt.importers.marian import load_marian
    from keras_int8nmt.importers.tfmot import from_tfmot
    from keras_int8nmt.layers.inference.dynamic_attention import (
        DynamicAttention as DynamicAttention,
    )
    from keras_int8nmt.layers.inference.dynamic_dense import DynamicDense as DynamicDense
    from keras_int8nmt.layers.inference.float_dense import FloatDense as FloatDense
    from keras_int8nmt.layers.inference.float_embedding import FloatEmbedding as FloatEmbedding
    from keras_int8nmt.layers.inference.int8_attention import Int8Attention as Int8Attention
    from keras_int8nmt.layers.inference.int8_dense import Int8Dense as Int8Dense
    from keras_int8nmt.layers.inference.int8_embedding import Int8Embedding as Int8Embedding
    from keras_int8nmt.layers.inference.mixed_attention import MixedAttention as MixedAttention
    from keras_int8nmt.layers.int8_gather import Int8Gather
    from keras_int8nmt.layers.model_state import simulate
    from keras_int8nmt.layers.model_training import finish_training, prepare_training
    from keras_int8nmt.layers.plain_files import load_plain_weights, save_plain_weights
    from keras_int8nmt.layers.quant_attention import QuantAttention
    from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention
    from keras_int8nmt.layers.quant_dense import QuantDense
    from keras_int8nmt.layers.quant_einsum_dense import QuantEinsumDense
    from keras_int8nmt.layers.quant_group_query_attention import QuantGroupQueryAttention
    from keras_int8nmt.layers.quant_reversible_embedding import QuantReversibleEmbedding
    from keras_int8nmt.layers.quant_t5_attention import QuantT5MultiHeadAttention
    from keras_int8nmt.models.build import build_transformer, copy_weights
    from keras_int8nmt.models.transformer import Transformer
    from keras_int8nmt.report.quality import measure_quality
    from keras_int8nmt.report.write import write_report
    from keras_int8nmt.storage.model_folder import load_folder, load_model, save_folder
    from keras_int8nmt.storage.saved_model import export_saved_model, load_saved_model
    from keras_int8nmt.thresholds.errors import CalibrationError
    from keras_int8nmt.tokenizers.adapters import as_tokenizer
    from keras_int8nmt.tokenizers.hugging_face import HuggingFaceTokenizer
    from keras_int8nmt.tokenizers.kinds import register_tokenizer
    from keras_int8nmt.tokenizers.marian import MarianTokenizer
    from keras_int8nmt.tokenizers.protocol import Tokenizer
    from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
    from keras_int8nmt.tokenizers.subword_tokenizer import SubwordNMTTokenizer
    from keras_int8nmt.training.dataset import parallel_dataset
    from keras_int8nmt.training.vocabulary import train_sentencepiece
    from keras_int8nmt.translation.batch_translator import BatchTranslator
    from keras_int8nmt.translation.translator import Translator, load_translator
else:
    __getattr__, __dir__ = lazy_face(
        __name__, _HOMES, unlisted=_FROZEN_LAYERS, present=["__version__"]
    )

register_with_keras()
