"""Text to text: sentences, streams of them, datasets and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "BatchTranslator": "translation.batch_translator",
    "Hypothesis": "runtime.results",
    "Translation": "translation.results",
    "Translator": "translation.translator",
    "load_translator": "translation.translator",
}

__all__ = [
    "BatchTranslator",
    "Hypothesis",
    "Translation",
    "Translator",
    "load_translator",
]

if TYPE_CHECKING:
    from keras_int8nmt.runtime.results import Hypothesis
    from keras_int8nmt.translation.batch_translator import BatchTranslator
    from keras_int8nmt.translation.results import Translation
    from keras_int8nmt.translation.translator import Translator, load_translator
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
