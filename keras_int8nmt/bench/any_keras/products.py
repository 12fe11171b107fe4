"""The way that a user goes: `quantize_model`, calibrate, `convert`; and what became INT8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.conversion.converter import convert
from keras_int8nmt.conversion.float_products import with_float_products
from keras_int8nmt.conversion.quantize import quantize_model


def int8_model(subject: Any, calibration: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The INT8 model of a float one, and what the report says of it.

    Args:
        subject: A `Subject`.
        calibration: A batch.
        folder: Where a calibrated model of these weights is kept; one that is there is taken.

    Returns:
        The model, and a dict: `int8` and `float32` (how many products), `reasons` (of those in
        float, each with the number of products), `left` (layers that `quantize_model` left alone,
        likewise), `share` (of multiplications in INT8, None where they can't be counted) and
        `uncounted` (products that were not counted).
    """
    quant = quantize_model(subject.model)
    calibrated = folder / "calibrated.weights.h5"
    if calibrated.exists():
        quant.load_weights(calibrated)
    else:
        quant.predict(calibration, verbose=0, callbacks=[CalibrationCallback()])
        quant.save_weights(calibrated)
    model = convert(quant)
    report = model.conversion_report
    if report.multiplications is None or report.multiplications.uncounted:
        # Of a model whose lengths vary, or that is subclassed, inputs tell them.
        report = with_float_products(report, model, calibration)
    counted = report.multiplications
    rows = [row for row in report.rows if row.precision != "int8"]
    return model, {
        "int8": len(report.rows) - len(rows),
        "float32": len(rows),
        "reasons": _counts([row.reason for row in rows]),
        "share": None if counted is None else counted.int8_share,
        "uncounted": 0 if counted is None else counted.uncounted,
        "left": _counts(
            [f"{row.layer_type}: {row.reason}" for row in quant.quantization_report.left]
        ),
    }


def _counts(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in dict.fromkeys(words)}
