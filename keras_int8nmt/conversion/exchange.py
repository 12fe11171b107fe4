"""Exchanges layers of a model for others, wherever they are: the engine of every conversion.

    exchange(model, [(a layer in it, the layer in its place), ...]) -> a new model

Layers may be in Sequential, Functional, nested and shared models, in layers and models of the
user's own (attributes, lists, tuples, dicts, made in `__init__` or in `build`) and in wrappers. A
layer that is used in several places is one layer in the new model, too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.conversion.structural_copy import Insertion, StructuralCopy
from keras_int8nmt.layers.model_state import layers_of

Pair = tuple[keras.layers.Layer, keras.layers.Layer]


def exchange(
    model: keras.Model,
    pairs: Sequence[Pair],
    inserted: Sequence[Insertion] = (),
    types: Mapping[int, str] | None = None,
) -> Any:
    """A copy of `model` in which the second of each pair stands where the first was.

    What computes is the code of the model's own classes; the copy shares no variable with the
    model, is not compiled, and has its names, paths, trainable flags and graph. See
    `StructuralCopy`.

    Args:
        model: A built model. It is not changed, and neither are the functions that it has traced.
        pairs: Layers in the model and what takes their places; these belong to the new model.
        inserted: Layers that graphs of the new model have beside those.
        types: By the identities of symbolic tensors of the model: their dtype in the new model.

    Example:

        >>> new = exchange(model, [(model.layers[1], QuantDense(8))])
    """
    made = StructuralCopy(model, pairs, inserted, types).made()
    _ask_configurations(made, [new for _, new in pairs])
    return made


def is_graph(model: Any) -> bool:
    """Whether a model is Sequential or Functional, so that its layers tell all that it computes."""
    # The class Functional has no public name; it is the model among the functions.
    functional = isinstance(model, keras.Function) and isinstance(model, keras.Model)
    return functional or isinstance(model, keras.Sequential)


def unique_paths(layers: Sequence[keras.layers.Layer]) -> list[str]:
    """A path for each of `layers`: its own, with a number behind it where another has the same."""
    taken: set[str] = set()
    found = []
    for layer in layers:
        own = getattr(layer, "path", None) or layer.name
        path, number = own, 1
        while path in taken:
            path, number = f"{own}_{number}", number + 1
        taken.add(path)
        found.append(path)
    return found


def _ask_configurations(model: keras.Model, exchanged: Sequence[keras.layers.Layer]) -> None:
    """Makes layers whose configuration knows nothing of the exchange say so when they are saved.

    Keras makes a layer of a file by its class and configuration: with plain layers inside, and the
    calibration lost without a word.
    """
    ours = {id(layer) for layer in exchanged if not getattr(layer, "loads_as_plain", False)}
    for layer in layers_of(model):
        if id(layer) in ours or is_plain_graph(layer):
            continue
        below = [one for one in layers_of(layer) if id(one) in ours]
        if below:
            vars(layer)["get_config"] = functools.partial(_complete_config, layer, tuple(below))


def is_plain_graph(layer: Any) -> bool:
    """Whether a layer is a graph with no code of a user's own."""
    return is_graph(layer) and type(layer).__module__.startswith("keras.")


def _complete_config(
    layer: keras.layers.Layer, exchanged: tuple[keras.layers.Layer, ...]
) -> dict[str, Any]:
    """The configuration of `layer`, which must tell of the layers that were put into it."""
    config: dict[str, Any] = type(layer).get_config(layer)
    told = set(_told_layers(config))
    missing = [one for one in exchanged if (type(one).__name__, one.name) not in told]
    if missing:
        names = ", ".join(repr(one.name) for one in missing[:3])
        more = ", ..." if len(missing) > 3 else ""
        raise ConversionError(
            f"{type(layer).__name__} {layer.name!r} can't be saved by its configuration, nor made "
            f"from it: get_config() does not tell of the layers that were exchanged inside it "
            f"({names}{more}), so that it would have plain ones again. Either serialize these in "
            "its get_config() and register the class (keras.saving.register_keras_serializable), "
            "or save the calibrated weights alone: `save_weights` here, then `load_weights` on "
            "quantize_model() of the float model, and convert() that."
        )
    return config


def _told_layers(config: Any) -> Iterator[tuple[str, str]]:
    """Class and name of each layer in a configuration."""
    if isinstance(config, dict):
        inner = config.get("config")
        if "class_name" in config and isinstance(inner, dict):
            yield str(config["class_name"]), str(inner.get("name"))
        for value in config.values():
            yield from _told_layers(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _told_layers(value)
