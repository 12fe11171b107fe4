"""`quantize_model`: a trained Keras model in, the same model with Quant layers out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.conversion.exchange import Pair, exchange, unique_paths
from keras_int8nmt.conversion.quant_table import (
    has_quant_layer,
    plain_parent,
    quant_layer_of,
    rename,
)
from keras_int8nmt.conversion.quantization_report import LayerRow, QuantizationReport
from keras_int8nmt.layers.model_state import parts_of, quant_layers
from keras_int8nmt.layers.quant_layer import QuantLayer
from keras_int8nmt.models.transformer import Transformer

Filters = str | Sequence[str] | Callable[[Any], bool] | None


def quantize_model(model: keras.Model, filters: Filters = None) -> keras.Model:
    """Makes a calibratable model of any trained Keras model.

    Every `Dense`, `MultiHeadAttention` and `Embedding` (and what else has a row, see
    `register_quant_layer`) becomes the Quant layer of its kind, wherever it is: in Sequential,
    Functional, nested and shared models, in wrappers, and in layers and models of your own, as an
    attribute, in a list, tuple or dict. All else is your own code, which goes on working with the
    layers that it finds in its attributes. Nothing need be registered or have a `get_config`.

    Args:
        model: A built model, trained or loaded. It is not changed and shares no weight with the
            new one.
        filters: Which layers are replaced, as in `keras.Model.quantize`: a regular expression or a
            list of them, searched for in the name of a layer, or a function of a layer that
            returns whether to replace it. None: all.

    Returns:
        A new model of the same class, structure, names, weights and outputs, not compiled, with
        a `QuantizationReport` as `quantization_report`: what was replaced, and what was not and
        why. It trains, calibrates (`CalibrationCallback`), simulates (`simulate`) and converts
        (`convert`).

    Raises:
        ConversionError: when the model is not built, or has no layer to replace (each layer is
            named with the reason), and for a `Transformer`, which `build_transformer` makes.
        ValueError: for filters of another type, or that are no regular expressions.

    Example:

        >>> quant = quantize_model(model)
        >>> print(quant.quantization_report.to_text())
        >>> quant.predict(sample, callbacks=[CalibrationCallback()])
        >>> int8 = convert(quant)
    """
    report, pairs = _plan(model, filters)
    if not pairs:
        raise ConversionError(_nothing_to_replace(model, report))
    made = exchange(model, pairs)
    made.quantization_report = report
    return made


def plan_quantization(model: keras.Model, filters: Filters = None) -> QuantizationReport:
    """What `quantize_model` of the same arguments would replace, and what not and why.

    Args:
        model, filters: As in `quantize_model`.

    Raises:
        ConversionError, ValueError: As `quantize_model`, but for a model without layers to replace.

    Example:

        >>> print(plan_quantization(model).to_text())
    """
    return _plan(model, filters)[0]


def _plan(model: keras.Model, filters: Filters) -> tuple[QuantizationReport, list[Pair]]:
    """The report, and the layers with what takes their places."""
    _check(model)
    chosen = _chooser(filters)
    layers = list(_candidates(model, set()))
    rows, pairs = [], []
    for layer, path in zip(layers, unique_paths(layers), strict=True):
        quant, reason = None, _why_not(layer, chosen)
        if not reason:
            try:
                quant = quant_layer_of(layer)
            except ConversionError as error:
                reason = str(error)
        if quant is None:
            rows.append(LayerRow(path, type(layer).__name__, reason=reason))
            continue
        rename(quant, path)
        rows.append(LayerRow(path, type(layer).__name__, type(quant).__name__))
        pairs.append((layer, quant))
    return QuantizationReport(rows), pairs


def _check(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ConversionError(
            f"quantize_model() takes a Keras model; received a {type(model).__name__}."
        )
    if isinstance(model, Transformer):
        raise ConversionError(
            f"{model.name!r} is a Transformer of this package: make it with "
            "build_transformer(quant=True), and give it weights by copy_weights."
        )
    if not model.built:
        raise ConversionError(f"Model {model.name!r} has no weights yet; build or call it first.")


def _candidates(layer: Any, seen: set[int]) -> Iterator[keras.layers.Layer]:
    """The layers that a row is about: with a Quant form, or with a kernel or table of their own."""
    if id(layer) in seen or isinstance(layer, QuantLayer):
        return
    seen.add(id(layer))
    if has_quant_layer(layer):
        yield layer
        return
    parts = parts_of(layer)
    # A wrapper may hold the kernel of the layer inside it, which answers for itself.
    inner = {id(variable) for part in parts for variable in part.variables}
    own = [weight for weight in layer._trainable_variables if id(weight) not in inner]
    if any(len(weight.shape) > 1 for weight in own):
        yield layer
    for part in parts:
        yield from _candidates(part, seen)


def _why_not(layer: keras.layers.Layer, chosen: Callable[[Any], bool]) -> str:
    """Why a layer is not replaced, as far as its type and name tell."""
    name = type(layer).__name__
    if not has_quant_layer(layer):
        parent = plain_parent(layer)
        if parent is None:
            return f"{name} has no Quant form"
        return f"{name} is a {parent.__name__} that its class may have changed"
    return "" if chosen(layer) else "filtered out"


def _chooser(filters: Filters) -> Callable[[Any], bool]:
    """Whether to replace a layer, by the rules of `keras.Model.quantize`."""
    if filters is None:
        return lambda layer: True
    if callable(filters):
        function: Callable[[Any], Any] = filters
        return lambda layer: bool(function(layer))
    patterns = [filters] if isinstance(filters, str) else filters
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(p, str) for p in patterns):
        raise ValueError(
            "`filters` must be a regular expression, a list of them, or a function of a layer; "
            f"received {filters!r}."
        )
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise ValueError(
            f"`filters` has {error.pattern!r}, which is no regular expression: {error}."
        ) from error
    return lambda layer: any(pattern.search(layer.name) for pattern in compiled)


def _nothing_to_replace(model: keras.Model, report: QuantizationReport) -> str:
    found = f"Model {model.name!r} has no layer to replace"
    if quant_layers(model):
        found += " (it has Quant layers already: calibrate or convert it as it is)"
    rows = "".join(f"\n  {row.path}: {row.reason}" for row in report.rows)
    return f"{found}:{rows}" if rows else f"{found}."
