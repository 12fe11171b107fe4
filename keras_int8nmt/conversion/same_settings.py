"""Copies of a user's layers by their configurations, in which no class or function is looked up.

Keras copies by way of saved configurations: what a configuration names must be registered, and a
lambda is refused. Here the objects are at hand. Whole models are copied by `structural_copy.py`.
"""

from __future__ import annotations

import types
import warnings
from typing import Any

import keras

from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.layers.model_state import every_observer, layers_of


def copied(layer: Any, layer_type: type | None = None) -> Any:
    """A layer (or another operation of a graph) of the same settings, without weights.

    Functions and objects of the user's own, lambdas too, are those of the original: a layer that
    refers to them by name may be copied unregistered.

    Args:
        layer: The layer.
        layer_type: The class of the new layer, which takes the same settings; by default the same.

    Raises:
        ConversionError: naming the layer, where its configuration is not enough to make another.
    """
    try:
        with warnings.catch_warnings(), keras.saving.custom_object_scope(_names(layer)):
            # Nothing is written that somebody else would have to load.
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            return _made(layer, layer_type or type(layer))
    except Exception as error:
        # Any code of the user's own may have run, and fails in its own ways.
        raise ConversionError(
            f"{_named(layer)} can't be copied from its configuration (get_config and from_config): "
            f"{type(error).__name__}: {_first_line(error)}"
        ) from error


def _made(layer: Any, layer_type: Any) -> Any:
    config = layer.get_config()
    own = {name: held for name in config if _is_own(held := _held(layer, name))}
    if own:
        return _from_objects(layer, {**config, **own}, layer_type)
    try:
        return layer_type.from_config(layer.get_config())
    except Exception:
        # A wrapper of a layer that has objects of the user's own.
        held = {name: _held(layer, name) for name in config}
        parts = {n: copied(x) for n, x in held.items() if isinstance(x, keras.layers.Layer)}
        if not parts:
            raise
        return _from_objects(layer, {**config, **parts}, layer_type)


def copy_weights(layer: Any, copy: Any) -> None:
    """Gives `copy` the weights of `layer`.

    Raises:
        ConversionError: naming the layer, where the copy has other weights.
    """
    # Layers that INT8 does not take keep what they observed; thresholds that train are weights.
    for given, new in zip(every_observer(layer), every_observer(copy), strict=False):
        if given.learned.log2_growth is not None:
            new.learned.start()
        for variable, value in zip(new.variables, given.variables, strict=True):
            variable.assign(value)
    try:
        copy.set_weights(layer.get_weights())
    except ValueError as error:
        raise ConversionError(
            f"{_named(layer)} has other weights than one that is made from its configuration: "
            f"{_first_line(error)}"
        ) from error


def is_graph(model: Any) -> bool:
    """Whether a model is Sequential or Functional, so that its layers tell all that it computes."""
    # The class Functional has no public name; it is the model among the functions.
    functional = isinstance(model, keras.Function) and isinstance(model, keras.Model)
    return functional or isinstance(model, keras.Sequential)


def _held(layer: Any, name: str) -> Any:
    """What a layer made of the entry `name` of its configuration."""
    if name == "output_shape" and isinstance(layer, keras.layers.Lambda):
        # The attribute of that name is the shape that came out.
        return getattr(layer, "_output_shape", None)
    try:
        return getattr(layer, name, None)
    except (AttributeError, ValueError):
        # Such as `input_shape` of a layer that was called twice.
        return None


def _is_own(value: Any) -> bool:
    """Whether `value` is a function, or an object of a class, that Keras does not know."""
    kind = type(value)
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return not (value.__module__ or "").startswith("keras.")
    if value is None or isinstance(value, (keras.layers.Layer, keras.Variable, type)):
        return False
    return callable(value) and not kind.__module__.startswith(("keras.", "builtins"))


def _from_objects(layer: Any, config: dict[str, Any], layer_type: Any) -> Any:
    """The layer of a configuration that holds objects where others hold their names."""
    config["dtype"] = layer.dtype_policy
    deserialize = keras.saving.deserialize_keras_object
    for name, value in config.items():
        if isinstance(value, dict) and "class_name" in value and "config" in value:
            config[name] = deserialize(value)
    return layer_type(**config)


def _names(layer: Any) -> dict[str, Any]:
    """The classes and functions that a layer holds, by the names that a configuration has."""
    found: dict[str, Any] = {}
    for each in layers_of(layer) if isinstance(layer, keras.layers.Layer) else (layer,):
        for value in (each, *vars(each).values()):
            for one in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(one, types.FunctionType):
                    found[one.__name__] = one
                elif not type(one).__module__.startswith(("keras.", "builtins", "numpy")):
                    found[type(one).__name__] = type(one)
    return found


def _named(layer: Any) -> str:
    return f"Layer {(getattr(layer, 'path', None) or layer.name)!r} ({type(layer).__name__})"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
