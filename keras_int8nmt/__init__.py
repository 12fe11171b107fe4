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
    "QuantAttention": "layers.quant_attention",
    "Int8Gather": "layers.int8_gather",
    "Int8Dense": "layers.inference.int8_dense",
    "Int8Attention": "layers.inference.int8_attention",
    "Int8Embedding": "layers.inference.int8_embedding",
    "DynamicDense": "layers.inference.dynamic_dense",
    "DynamicAttention": "layers.inference.dynamic_attention",
    "FloatDense": "layers.inference.float_dense",
    "FloatEmbedding": "layers.inference.float_embedding",
    "MixedAttention": "layers.inference.mixed_attention",
    "CalibrationCallback": "callbacks.calibration",
    "CalibrationError": "thresholds.errors",
    "finish_training": "layers.model_training",
    "prepare_training": "layers.model_training",
    "simulate": "layers.model_state",
    "build_transformer": "models.build",
    "Transformer": "models.transformer",
    "load_marian": "importers.marian",
    "balance": "calibration.smooth_quant",
    "from_tfmot": "importers.tfmot",
    "autotune": "autotuning.tune",
    "AutotuneResult": "autotuning.result",
    "Candidate": "autotuning.candidates",
    "convert": "conversion.converter",
    "ConversionError": "conversion.converter",
    "Translator": "translation.translator",
    "MarianTokenizer": "tokenizers.marian",
    "write_report": "report.write",
    "save_folder": "storage.model_folder",
    "load_folder": "storage.model_folder",
    "export_saved_model": "storage.saved_model",
    "load_saved_model": "storage.saved_model",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604

if TYPE_CHECKING:
    from keras_int8nmt.autotuning.candidates import Candidate
    from keras_int8nmt.autotuning.result import AutotuneResult
    from keras_int8nmt.autotuning.tune import autotune
    from keras_int8nmt.calibration import (
        CalibrationError,
        finish_training,
        prepare_training,
        simulate,
    )
    from keras_int8nmt.calibration.smooth_quant import balance
    from keras_int8nmt.callbacks.calibration import CalibrationCallback
    from keras_int8nmt.conversion.converter import ConversionError, convert
    from keras_int8nmt.importers.marian import load_marian
    from keras_int8nmt.importers.tfmot import from_tfmot
    from keras_int8nmt.layers.inference.dynamic_attention import DynamicAttention
    from keras_int8nmt.layers.inference.dynamic_dense import DynamicDense
    from keras_int8nmt.layers.inference.float_dense import FloatDense
    from keras_int8nmt.layers.inference.float_embedding import FloatEmbedding
    from keras_int8nmt.layers.inference.int8_attention import Int8Attention
    from keras_int8nmt.layers.inference.int8_dense import Int8Dense
    from keras_int8nmt.layers.inference.int8_embedding import Int8Embedding
    from keras_int8nmt.layers.inference.mixed_attention import MixedAttention
    from keras_int8nmt.layers.int8_gather import Int8Gather
    from keras_int8nmt.layers.quant_attention import QuantAttention
    from keras_int8nmt.layers.quant_dense import QuantDense
    from keras_int8nmt.models.build import Transformer, build_transformer
    from keras_int8nmt.report.write import write_report
    from keras_int8nmt.storage.model_folder import load_folder, save_folder
    from keras_int8nmt.storage.saved_model import export_saved_model, load_saved_model
    from keras_int8nmt.tokenizers.marian import MarianTokenizer
    from keras_int8nmt.translation.translator import Translator


__getattr__, __dir__ = lazy_face(__name__, _HOMES, ["__version__"])

register_with_keras()
