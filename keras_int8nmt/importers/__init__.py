"""Foreign checkpoints and models, one file a format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "MarianFormatError": "importers.marian",
    "load_marian": "importers.marian",
    "from_tfmot": "importers.tfmot",
}

__all__ = [
    "MarianFormatError",
    "from_tfmot",
    "load_marian",
]

if TYPE_CHECKING:
    from keras_int8nmt.importers.marian import MarianFormatError, load_marian
    from keras_int8nmt.importers.tfmot import from_tfmot
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
