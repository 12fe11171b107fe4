"""Float model in, INT8 model and report out (arXiv 1906.00532, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "convert": "conversion.converter",
    "ConversionError": "conversion.errors",
    "ConversionReport": "conversion.report",
    "register_converter": "conversion.table",
    "MatMulRow": "conversion.report",
}

__all__ = [
    "ConversionError",
    "ConversionReport",
    "MatMulRow",
    "convert",
    "register_converter",
]

if TYPE_CHECKING:
    from keras_int8nmt.conversion.converter import convert
    from keras_int8nmt.conversion.errors import ConversionError
    from keras_int8nmt.conversion.report import (
        ConversionReport,
        MatMulRow,
    )
    from keras_int8nmt.conversion.table import register_converter
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
