"""Weight files of plain Keras layers into a model of Quant layers, and out of one.

Keras' files name a layer that is an attribute by the attribute, and one in a list, as those of a
Sequential or Functional model are, by its class: `layers/dense_1`. What a model of plain layers
calls `dense`, one of Quant layers would look for as `quant_dense`, and where both kinds lie in one
list even the numbers differ. So the two functions here let Keras itself write and read the file
while Quant layers go by the names of their parents: whatever holds them, the places are those of
the plain model, in each version of Keras.

Observers are beside the layer's own weights in such a file, in places that a plain model does not
look at; a file without them leaves the model as it is before calibration.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.layers.quant_layer import QuantLayer

_RENAMING = threading.RLock()


class WeightFileError(KerasInt8nmtError, ValueError):
    """A file of weights does not go with a model; the message names both."""


def load_plain_weights(
    model: keras.Model, path: str | Path, *, skip_mismatch: bool = False
) -> None:
    """Gives a model of Quant layers the weights of a file that plain Keras layers wrote.

    Observers have no thresholds afterwards, unless `save_plain_weights` wrote the file from a
    calibrated model. `model.set_weights(plain.get_weights())` does the same from memory.

    Args:
        model: A built model of the same architecture as the plain one, with `QuantDense` for
            `Dense`, `QuantAttention` for `MultiHeadAttention`, `Int8Gather` for `Embedding` and so
            on where you like; the others may be the same plain layers.
        path: A `.weights.h5` file of `save_weights`, or a `.keras` file of `save`.
        skip_mismatch: As in `keras.Model.load_weights`.

    Raises:
        WeightFileError: for weights that do not go with the model, or a file that is none.
        FileNotFoundError: where there is no such file.

    Example:

        >>> plain.save_weights("plain.weights.h5")
        >>> load_plain_weights(model, "plain.weights.h5")
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        with _names_of_parents():
            model.load_weights(path, skip_mismatch=skip_mismatch)
    except (ValueError, KeyError, OSError) as error:
        raise WeightFileError(
            f"The weights in {str(path)!r} do not go with model {model.name!r}: {error}"
        ) from error


def save_plain_weights(model: keras.Model, path: str | Path, *, overwrite: bool = True) -> None:
    """Writes the weights of a model of Quant layers so that the plain model loads them.

    That is `plain.load_weights(path)`, with no need of this package. What observers hold is in the
    file, too, and comes back with `load_plain_weights`.

    Args:
        model: A built model.
        path: Ends in `.weights.h5`.
        overwrite: As in `keras.Model.save_weights`.

    Example:

        >>> save_plain_weights(model, "plain.weights.h5")
        >>> plain.load_weights("plain.weights.h5")
    """
    with _names_of_parents():
        model.save_weights(path, overwrite=overwrite)


def require_weights(layer: Any, store: Any) -> None:
    """Says what to do where a file has nothing at the place of a built Quant layer."""
    if layer.built and not store.keys():
        raise WeightFileError(
            f"The file has no weights for layer {layer.name!r} ({type(layer).__name__}). A file of "
            "plain Keras layers has them under the names of theirs: load it by "
            "`keras_int8nmt.load_plain_weights(model, path)`, and a file that "
            "`model.save_weights` wrote by `model.load_weights(path)`."
        )


@contextmanager
def _names_of_parents() -> Iterator[None]:
    """Inside, Keras' files know each Quant layer by the class that it stands for.

    The name of a class is all that Keras asks. One thread at a time; a layer that another one makes
    meanwhile may get its automatic name of its parent.
    """
    with _RENAMING:
        own = {layer_class: layer_class.__name__ for layer_class in _quant_classes(QuantLayer)}
        try:
            for layer_class in own:
                layer_class.__name__ = plain_name(layer_class)
            yield
        finally:
            for layer_class, name in own.items():
                layer_class.__name__ = name


def _quant_classes(base: type[Any]) -> Iterator[type[Any]]:
    """The classes that stand for a Keras layer; not what users make of them."""
    each: type[Any]
    for each in base.__subclasses__():
        if plain_name(each) != each.__name__:
            yield each
        yield from _quant_classes(each)


def plain_name(layer_class: type[Any]) -> str:
    """The name of the layer that a Quant layer stands for.

    It is that of the Keras layer among the bases, or `stands_for` of a class that imports none;
    else the class's own.
    """
    told = vars(layer_class).get("stands_for")
    if told is not None:
        return str(told)
    for base in layer_class.__bases__:
        is_layer = issubclass(base, keras.layers.Layer) and base is not keras.layers.Layer
        if is_layer and not issubclass(base, QuantLayer):
            return base.__name__
    return layer_class.__name__
