"""Keras' own ONNX export of a model, in operations that ONNX has."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def export(model: Any, like: Any, path: Path) -> None:
    """Writes a float model, for batches of any size.

    Args:
        model: A built Keras model.
        like: Arrays of one batch, in the structure that the model takes.
        path: The file.
    """
    import keras
    import onnx
    import tensorflow as tf

    signature = tf.nest.map_structure(
        lambda x: keras.InputSpec(shape=(None, *x.shape[1:]), dtype=str(x.dtype)), like
    )
    model.export(path, format="onnx", input_signature=[signature], verbose=False)
    exported = onnx.load(path)
    if with_erf(exported):
        onnx.save(exported, path)


def with_erf(model: Any) -> int:
    """Writes each `Erfc`, which ONNX has not and tf2onnx leaves, as `Erf`; returns how many.

    TensorFlow's GELU is x / 2 * erfc(-x * c), which is x / 2 * (1 + erf(x * c)): as libraries
    expect it, which compute that in one operation.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    found = [node for node in graph.node if node.op_type == "Erfc"]
    one = "keras_int8nmt/one"
    if found:
        graph.initializer.append(numpy_helper.from_array(np.float32(1), one))
    for node in found:
        place = list(graph.node).index(node)
        name, argument, result = node.name, node.input[0], node.output[0]
        scaled = makers.get(argument)
        inner = None
        if scaled is not None and scaled.op_type == "Mul":
            inner = makers.get(scaled.input[0])
        negated = inner is not None and inner.op_type == "Neg"
        new = []
        if scaled is not None and inner is not None and negated:
            factors = [inner.input[0], scaled.input[1]]
            new.append(helper.make_node("Mul", factors, [f"{name}/x"], f"{name}/x"))
            argument = f"{name}/x"
        new.append(helper.make_node("Erf", [argument], [f"{name}/erf"], f"{name}/erf"))
        last = "Add" if negated else "Sub"
        new.append(helper.make_node(last, [one, f"{name}/erf"], [result], name))
        graph.node.remove(node)
        for offset, each in enumerate(new):
            graph.node.insert(place + offset, each)
    return len(found)
