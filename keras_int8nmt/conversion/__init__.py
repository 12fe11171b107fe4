"""Float model in, INT8 model and report out (arXiv 1906.00532, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "convert": "conversion.converter",
    "CodeExchange": "conversion.report",
    "ConversionError": "conversion.errors",
    "ConversionReport": "conversion.report",
    "register_converter": "conversion.table",
    "MatMulRow": "conversion.report",
    "quantize_model": "conversion.quantize",
    "plan_quantization": "conversion.quantize",
    "register_quant_layer": "conversion.quant_table",
    "QuantizationReport": "conversion.quantization_report",
    "LayerRow": "conversion.quantization_report",
}

__all__ = [
    "CodeExchange",
    "ConversionError",
    "ConversionReport",
    "LayerRow",
    "MatMulRow",
    "QuantizationReport",
    "convert",
    "plan_quantization",
    "quantize_model",
    "register_converter",
    "register_quant_layer",
]

if TYPE_CHECKING:
    from keras_int8nmt.conversion.converter import convert
    from keras_int8nmt.conversion.errors import ConversionError
    from keras_int8nmt.conversion.quant_table import register_quant_layer
    from keras_int8nmt.conversion.quantization_report import (
        LayerRow,
        QuantizationReport,
    )
    from keras_int8nmt.conversion.quantize import plan_quantization, quantize_model
    from keras_int8nmt.conversion.report import (
        CodeExchange,
        ConversionReport,
        MatMulRow,
    )
    from keras_int8nmt.conversion.table import register_converter
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
