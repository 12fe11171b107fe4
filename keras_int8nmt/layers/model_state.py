"""The calibration state of a whole model: which observers it has and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.observing.switch import OBSERVING, OFF, SIMULATING
from keras_int8nmt.layers.quant_layer import QuantLayer
from keras_int8nmt.thresholds.errors import CalibrationError, NotCalibratedError
from keras_int8nmt.thresholds.find import find_thresholds, what_is_wrong
from keras_int8nmt.thresholds.modes import DEFAULT_MODE, parse_mode

_STATES = {"float": OFF, "observing": OBSERVING, "simulating": SIMULATING}


def _add_layers(value: Any, found: list[keras.layers.Layer]) -> None:
    """Appends the layers directly inside an attribute value."""
    if isinstance(value, keras.layers.Layer):
        found.append(value)
    elif isinstance(value, dict):
        for item in value.values():
            _add_layers(item, found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _add_layers(item, found)


def _walk(layer: keras.layers.Layer, seen: set[int]) -> Iterator[keras.layers.Layer]:
    """`layer` and all layers it holds in attributes, each once, in the order of creation."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield layer
    for child in parts_of(layer):
        yield from _walk(child, seen)


def parts_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer holds in attributes, in the order of creation; some perhaps twice."""
    # Conversion asks this of every layer many times, so it is no generator.
    found = list(layer.layers) if isinstance(layer, keras.Model) else []
    _add_layers(list(vars(layer).values()), found)
    return found


def layers_of(model: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """A model and all layers in it, wherever they are held, each once."""
    return _walk(model, set())


def quant_layers(model: keras.layers.Layer) -> list[QuantLayer]:
    """The layers that can become INT8, in the order in which the model holds them."""
    return [
        layer
        for layer in _walk(model, set())
        if isinstance(layer, QuantLayer) and not layer.unsupported_reasons()
    ]


def _able_observers(model: keras.layers.Layer) -> list[Observer]:
    """The observers, without those of layers that stay float."""
    excluded: set[int] = set()
    found = []
    for layer in _walk(model, set()):
        if isinstance(layer, QuantLayer) and layer.unsupported_reasons():
            excluded.update(id(child) for child in _walk(layer, set()))
        if isinstance(layer, Observer):
            found.append(layer)
    return [o for o in found if id(o) not in excluded]


def observers(model: keras.layers.Layer) -> list[tuple[str, Observer]]:
    """The observers of a model that can take part in calibration, with their paths.

    Observers of layers that INT8 can't do (`layer.unsupported_reasons()`) are left out.

    Args:
        model: A model or a layer, built.

    Returns:
        A list of `(path, observer)`, in the order in which the model holds its layers.

    Raises:
        ValueError: if a layer is not built yet: it has no variables.
    """
    found = _able_observers(model)
    unbuilt = [o.path or o.name for o in found if not o.built]
    if unbuilt:
        raise ValueError(
            "The model must be built (called once) before it can be calibrated; not built: "
            + ", ".join(unbuilt)
        )
    return [(o.path or o.name, o) for o in found]


def without_statistics(model: keras.layers.Layer) -> list[str]:
    """The paths of observers that have thresholds but saw nothing by channel.

    So it is in a model that was calibrated by a release without `ChannelStatistics`.
    """
    return [
        path
        for path, observer in observers(model)
        if observer.is_calibrated and not observer.channel_statistics.is_seen
    ]


def without_thresholds(model: keras.layers.Layer) -> list[str]:
    """The paths of observers that conversion and simulation need calibrated and are not."""
    return [
        path
        for path, observer in observers(model)
        if not observer.is_calibrated and not observer.optional
    ]


def set_state(model: keras.layers.Layer, state: str) -> None:
    """Sets what every quantizable layer of a model does.

    Args:
        model: A built model.
        state: `"float"`, `"observing"` or `"simulating"`.

    Raises:
        NotCalibratedError: when simulating is asked for and an observer has no thresholds.
        ValueError: for another state, or a model without observers.
    """
    if state not in _STATES:
        raise ValueError(f"Unknown state {state!r}; expected one of {', '.join(_STATES)}.")
    found = observers(model)
    if not found:
        raise ValueError(
            f"{model.name!r} has no observers: build it with quant=True, or use QuantDense and "
            "QuantAttention."
        )
    if state == "simulating":
        missing = without_thresholds(model)
        if missing:
            raise NotCalibratedError(missing)
    taking_part = {id(observer) for _, observer in found}
    for layer in _walk(model, set()):
        if isinstance(layer, QuantLayer) and layer.built and not layer.unsupported_reasons():
            layer.set_switch(_STATES[state])
        elif isinstance(layer, Observer) and layer.built:
            # What INT8 can't do shows only in the call for some layers: those go off as well.
            layer.set_switch(_STATES[state] if id(layer) in taking_part else OFF)


def simulate(model: keras.layers.Layer, enabled: bool = True) -> None:
    """Makes a calibrated model compute with the values that INT8 would have, or in float again.

    The outputs are those of `convert(model)` up to rounding ties, and the model still trains: the
    gradients pass straight through the rounding.

    Raises:
        NotCalibratedError: if an observer has no thresholds.

    Example:

        >>> simulate(model)
        >>> model.fit(data)  # learns to live with INT8
        >>> simulate(model, enabled=False)
    """
    set_state(model, "simulating" if enabled else "float")


def reset(model: keras.layers.Layer) -> None:
    """Forgets what every observer saw; thresholds stay until the next `settle`."""
    for _, observer in observers(model):
        observer.reset()


def observer_values(model: keras.layers.Layer) -> list[tuple[keras.Variable, np.ndarray]]:
    """Every variable of every observer, with its value."""
    return [
        (weight, np.array(weight.numpy()))
        for _, observer in observers(model)
        for weight in observer.variables
    ]


@contextmanager
def observers_kept(model: keras.layers.Layer) -> Iterator[None]:
    """Puts everything that observers hold back at the end: histograms, statistics, thresholds."""
    kept = observer_values(model)
    try:
        yield
    finally:
        for weight, value in kept:
            weight.assign(value)


def settle(
    model: keras.layers.Layer, mode: str = DEFAULT_MODE, *, unsigned: bool = True
) -> dict[str, tuple[float, float]]:
    """Chooses the thresholds of every observer from what it saw.

    All histograms are looked at before the first threshold is set, so a model never ends half
    calibrated.

    Args:
        model: A model that has observed data.
        mode: One of `MODES`, or "percentile:" and a number; see `find_thresholds`.
        unsigned: Whether tensors without negative values, as after ReLU, are uint8. False: they
            are int8, with thresholds `(-T, T)`.

    Returns:
        The thresholds by path.

    Raises:
        CalibrationError: naming every observer that saw no data, or NaN or infinite values.
        ValueError: for an unknown mode.

    Example:

        >>> set_state(model, "observing")
        >>> model(sample)
        >>> set_state(model, "float")
        >>> thresholds = settle(model, "percentile:99.9")
    """
    parse_mode(mode)
    for _, observer in observers(model):
        observer.gather()
    found = [(path, observer, observer.to_histogram()) for path, observer in observers(model)]
    wrong = []
    for path, observer, histogram in found:
        problem = what_is_wrong(histogram)
        if problem and not (observer.optional and histogram.total == histogram.nonfinite == 0):
            wrong.append(f"{path}: {problem}")
    if wrong:
        raise CalibrationError("Calibration failed for these layers:\n  " + "\n  ".join(wrong))
    thresholds = {}
    for path, observer, histogram in found:
        if histogram.total == 0:
            # Seen in an earlier calibration, perhaps, but not in this one.
            observer.clear_thresholds()
            continue
        observer.set_thresholds(
            *find_thresholds(histogram, mode, signed=observer.signed, unsigned=unsigned)
        )
        low, high = observer.thresholds()
        thresholds[path] = float(low), float(high)
    return thresholds
