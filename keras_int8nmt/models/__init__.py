"""The float and the INT8 Transformer, their settings, and what the decoders ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "Transformer": "models.transformer",
    "build_transformer": "models.build",
    "copy_weights": "models.build",
}

__all__ = [
    "Transformer",
    "build_transformer",
    "copy_weights",
]

if TYPE_CHECKING:
    from keras_int8nmt.models.build import build_transformer, copy_weights
    from keras_int8nmt.models.transformer import Transformer
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
