"""What a model is, by its conversion report and by what its layers say of themselves."""

from __future__ import annotations

from typing import Any

from keras_int8nmt.conversion.report import ConversionReport
from keras_int8nmt.layers.model_state import layers_of, observers


def report_of(model: Any) -> ConversionReport | None:
    """What `convert` told of a model; None if it made none, or if Keras alone saved the model."""
    return getattr(model, "conversion_report", None)


def state_of(model: Any) -> str:
    """ "float", "calibrated" or "converted"."""
    if report_of(model) is not None:
        return "converted"
    required = [observer for _, observer in observers(model) if not observer.optional]
    if required:
        return "calibrated" if all(o.is_calibrated for o in required) else "float"
    return "converted" if _frozen_layers(model) else "float"


def precision_of(model: Any) -> str:
    """ "int8", "float32", or "mixed" where some MatMuls stayed float."""
    if state_of(model) != "converted":
        return "float32"
    report = report_of(model)
    if report is not None:
        return report.precision
    found = {precision for layer in _frozen_layers(model) for precision in layer.precisions}
    return found.pop() if len(found) == 1 else "mixed"


def _frozen_layers(model: Any) -> list[Any]:
    # It imports TensorFlow, which a model with observers does without.
    from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer

    return [layer for layer in layers_of(model) if isinstance(layer, FrozenLayer)]
