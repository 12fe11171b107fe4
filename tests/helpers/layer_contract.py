"""The one check that every layer passes; a new layer gets all of it in a few lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def check_layer(
    layer_class: type[keras.layers.Layer],
    init: dict[str, Any],
    call: Callable[[keras.layers.Layer], Any],
    inputs: list[np.ndarray],
    expected_shape: tuple[int, ...],
    tmp_path: Any,
    *,
    connect: Callable[[keras.layers.Layer, list[Any]], Any] | None = None,
) -> keras.layers.Layer:
    """Build, call, shapes, dtype, config round trip, mask, training, save and load.

    Args:
        layer_class: The class.
        init: Its constructor's arguments.
        call: Calls a layer on concrete data.
        inputs: The arrays that `connect` gets as symbolic inputs, batch first.
        expected_shape: Shape of the output.
        tmp_path: A folder.
        connect: How a layer is called with `inputs` (tensors); positional by default.

    Returns:
        The built layer.
    """
    connect = connect or (lambda layer, tensors: layer(*tensors))
    layer = layer_class(**init)
    output = call(layer)
    assert tuple(output.shape) == expected_shape
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
    _check_config(layer_class, layer)
    _check_training(layer, call)
    model = _model(layer_class, init, inputs, connect)
    assert tuple(model.output.shape[1:]) == expected_shape[1:]
    _check_save_and_load(model, inputs, tmp_path)
    _check_mixed_precision(layer_class, init, call)
    return layer


def _check_config(layer_class: type, layer: keras.layers.Layer) -> None:
    config = layer.get_config()
    again = layer_class.from_config(config)
    assert again.get_config() == config
    rebuilt = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(rebuilt) is layer_class


def _check_training(layer: keras.layers.Layer, call: Callable[[Any], Any]) -> None:
    import tensorflow as tf

    assert layer.trainable_variables
    with tf.GradientTape() as tape:
        loss = ops.sum(ops.square(call(layer)))
    gradients = tape.gradient(loss, [v.value for v in layer.trainable_variables])
    assert all(g is not None for g in gradients)
    assert any(float(ops.max(ops.abs(ops.convert_to_tensor(g)))) > 0 for g in gradients)


def _model(layer_class: Any, init: Any, inputs: Any, connect: Any) -> keras.Model:
    symbols = [keras.Input(a.shape[1:], dtype=str(a.dtype)) for a in inputs]
    return keras.Model(symbols, connect(layer_class(**init), symbols))


def _check_save_and_load(model: keras.Model, inputs: list[np.ndarray], tmp_path: Any) -> None:
    path = tmp_path / "layer.keras"
    model.save(path)
    again = keras.models.load_model(path)
    data = inputs if len(inputs) > 1 else inputs[0]
    np.testing.assert_array_equal(
        model.predict(data, verbose=0), again.predict(data, verbose=0), strict=True
    )
    for old, new in zip(model.variables, again.variables, strict=True):
        assert old.name == new.name
        np.testing.assert_array_equal(old.numpy(), new.numpy(), strict=True)


def _check_mixed_precision(layer_class: Any, init: Any, call: Any) -> None:
    layer = layer_class(**init, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(call(layer).dtype) == "bfloat16"
    for weight in layer.weights:
        assert keras.backend.standardize_dtype(weight.dtype) in ("float32", "int32", "uint32")


def assert_same_signature(ours: Callable[..., Any], parents: Callable[..., Any]) -> None:
    """Names, order and defaults of the parent's parameters; ours may add keyword-only ones."""
    own = list(inspect.signature(ours).parameters.values())
    own = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    theirs = list(inspect.signature(parents).parameters.values())
    assert [(p.name, p.kind, p.default) for p in own] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


def copy_weights(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Gives `target` the trainable weights of `source`, which must match by name and shape."""
    for theirs, own in zip(source.trainable_weights, target.trainable_weights, strict=True):
        assert theirs.name == own.name
        own.assign(theirs)
