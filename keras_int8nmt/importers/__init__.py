"""Foreign checkpoints and models, one file a format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "CTranslate2FormatError": "importers.errors",
    "MarianFormatError": "importers.errors",
    "load_ctranslate2": "importers.ctranslate2",
    "load_marian": "importers.marian",
    "load_raw_marian": "importers.raw_marian",
    "from_tfmot": "importers.tfmot",
}

__all__ = [
    "CTranslate2FormatError",
    "MarianFormatError",
    "from_tfmot",
    "load_ctranslate2",
    "load_marian",
    "load_raw_marian",
]

if TYPE_CHECKING:
    from keras_int8nmt.importers.ctranslate2 import load_ctranslate2
    from keras_int8nmt.importers.errors import CTranslate2FormatError, MarianFormatError
    from keras_int8nmt.importers.marian import load_marian
    from keras_int8nmt.importers.raw_marian import load_raw_marian
    from keras_int8nmt.importers.tfmot import from_tfmot
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
