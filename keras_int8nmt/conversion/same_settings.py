"""A Quant layer of the settings and weights of a plain one, made by its configuration.

Keras makes layers by way of saved configurations: what one names must be registered, and a lambda
is refused. Here the objects are at hand, so that no class or function is looked up. Whole models
are copied by `structural_copy.py`, which reads no configuration.
"""

from __future__ import annotations

import types
import warnings
from typing import Any

import keras

from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.layers.model_state import layers_of


def same_settings(layer: keras.layers.Layer, quant_class: Any) -> keras.layers.Layer:
    """A `quant_class` of the configuration and weights of `layer`, built as that was.

    Functions and objects of the user's own, lambdas too, are those of the original: a layer that
    refers to them by name may be unregistered.

    Raises:
        ConversionError: where configuration and weights are not enough to make it.
    """
    new = _unbuilt(layer, quant_class)
    try:
        new.build_from_config(layer.get_build_config() or {})
        for variable, given in zip(new.weights, layer.weights, strict=True):
            # A buffer of its own: on JAX training gives away that of a variable.
            variable.assign(keras.ops.copy(given))
            variable.trainable = given.trainable
    except Exception as error:  # of a build() that may be the user's own
        raise ConversionError(
            f"a {quant_class.__name__} of its settings has other weights: {error}"
        ) from error
    return new


def _unbuilt(layer: Any, quant_class: Any) -> Any:
    try:
        with warnings.catch_warnings(), keras.saving.custom_object_scope(_names(layer)):
            # Nothing is written that somebody else would have to load.
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            config = layer.get_config()
            own = {name: held for name in config if _is_own(held := _held(layer, name))}
            if own:
                return _from_objects(layer, {**config, **own}, quant_class)
            return quant_class.from_config(config)
    except Exception as error:
        # Any code of the user's own may have run, and fails in its own ways.
        first_line = (str(error).strip() or "no reason given").splitlines()[0]
        raise ConversionError(
            f"Layer {(layer.path or layer.name)!r} ({type(layer).__name__}) can't be copied from "
            f"its configuration (get_config and from_config): {type(error).__name__}: {first_line}"
        ) from error


def _held(layer: Any, name: str) -> Any:
    """What a layer made of the entry `name` of its configuration."""
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


def _from_objects(layer: Any, config: dict[str, Any], quant_class: Any) -> Any:
    """The layer of a configuration that holds objects where others hold their names."""
    config["dtype"] = layer.dtype_policy
    deserialize = keras.saving.deserialize_keras_object
    for name, value in config.items():
        if isinstance(value, dict) and "class_name" in value and "config" in value:
            config[name] = deserialize(value)
    return quant_class(**config)


def _names(layer: keras.layers.Layer) -> dict[str, Any]:
    """The classes and functions that a layer holds, by the names that a configuration has."""
    found: dict[str, Any] = {}
    for each in layers_of(layer):
        for value in (each, *vars(each).values()):
            for one in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(one, types.FunctionType):
                    found[one.__name__] = one
                elif not type(one).__module__.startswith(("keras.", "builtins", "numpy")):
                    found[type(one).__name__] = type(one)
    return found
