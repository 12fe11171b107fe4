"""Keras' own ONNX export of a model, in operations that ONNX has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

# Smaller weights are constants of the graph that is converted, as all are in Keras' export.
_LARGE = 2**16


def export(model: Any, like: Any, path: Path) -> None:
    """Writes a float model, for batches of any size.

    It is `keras.Model.export` of a model that has the large weights of this one as inputs; they get
    their values in the file. Otherwise tf2onnx keeps a copy of every constant for each of its some
    forty passes over a graph: of BERT base more than 20 GB, and minutes. Constant tensors that the
    model holds, such as a table of sinusoids, become inputs in Keras' export by themselves, and get
    their values in the same way.

    Args:
        model: A built Keras model.
        like: Arrays of one batch, in the structure that the model takes.
        path: The file.

    Raises:
        ValueError: The file has other inputs than those of the model.
    """
    import keras
    import onnx
    import tensorflow as tf

    large = [v for v in model.variables if math.prod(v.shape) >= _LARGE]
    traced: list[Any] = []

    class WithWeightsGiven(keras.Model):
        """The model as a function of its large weights, too."""

        def call(self, inputs: Any) -> Any:
            given, weights = inputs
            traced.append(tf.nest.flatten(given)[0].graph)
            values = {id(v): weight for v, weight in zip(large, weights, strict=True)}
            lists = (model.trainable_variables, model.non_trainable_variables)
            states = [[values.get(id(v), v.value) for v in each] for each in lists]
            outputs, _ = model.stateless_call(*states, given)
            return outputs

    signature = [
        tf.nest.map_structure(
            lambda x: keras.InputSpec(shape=(None, *x.shape[1:]), dtype=str(x.dtype)), like
        ),
        [keras.InputSpec(shape=v.shape, dtype=v.dtype) for v in large],
    ]
    wrapper = WithWeightsGiven()
    wrapper.built = True  # the model inside is
    wrapper.export(path, format="onnx", input_signature=[signature], verbose=False)
    exported = onnx.load(path)
    constants = captured(traced[-1])
    names = [each.name for each in exported.graph.input if each.name not in constants]
    count = len(tf.nest.flatten(like))
    if len(names) != count + len(large):
        raise ValueError(
            f"the file has {len(names) - len(large)} inputs beside weights and constants, "
            f"the model {count}: {', '.join(names)}"
        )
    weights = zip(names[count:], (each.numpy() for each in large), strict=True)
    with_erf(exported)
    fill(exported, {**constants, **dict(weights)})
    onnx.save(exported, path)


def captured(graph: Any) -> dict[str, Any]:
    """Constant tensors that a traced function has found outside, by the names of its inputs.

    Variables are not of them: they are references.

    Args:
        graph: That of a `tf.function`.

    Returns:
        Arrays.
    """
    import tensorflow as tf

    references = (tf.resource, tf.variant)
    return {
        inside.name: outside.numpy()
        for outside, inside in graph.captures
        if outside.dtype not in references
    }


def fill(model: Any, weights: dict[str, Any]) -> int:
    """Gives inputs of a model their values, and computes what constants alone lead to.

    Args:
        model: An ONNX model; changed.
        weights: Arrays by the names of inputs.

    Returns:
        How many nodes were computed, as tf2onnx does where weights are constants.
    """
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    graph = model.graph
    kept = [each for each in graph.input if each.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer} | weights
    outputs = {each.name for each in graph.output}
    folded = []
    for node in graph.node:
        constant = bool(node.input) and all(name in values for name in node.input)
        if constant and not outputs & set(node.output):
            given = {name: values[name] for name in node.input}
            values.update(zip(node.output, ReferenceEvaluator(node).run(None, given), strict=True))
            folded.append(node)
    for node in folded:
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input} | outputs
    for each in [each for each in graph.initializer if each.name not in read]:
        graph.initializer.remove(each)
    there = {each.name for each in graph.initializer}
    graph.initializer.extend(
        numpy_helper.from_array(values[name], name) for name in values if name in read - there
    )
    return len(folded)


def with_erf(model: Any) -> int:
    """Writes each `Erfc`, which ONNX has not and tf2onnx leaves, as `Erf`; returns how many.

    TensorFlow's GELU is x / 2 * erfc(-x * c), which is x / 2 * (1 + erf(x / (1 / c))): as libraries
    expect it, which compute that in one operation.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {each.name: each for each in graph.initializer}
    found = [node for node in graph.node if node.op_type == "Erfc"]
    one = "keras_int8nmt/one"
    if found:
        graph.initializer.append(numpy_helper.from_array(np.float32(1), one))
    for node in found:
        place = list(graph.node).index(node)
        name, argument, result = node.name, node.input[0], node.output[0]
        scaled, inner, new = makers.get(argument), None, []
        if scaled is not None and scaled.op_type == "Mul" and scaled.input[1] in constants:
            inner = makers.get(scaled.input[0])
        negated = scaled is not None and inner is not None and inner.op_type == "Neg"
        if scaled is not None and inner is not None and negated:
            divisor = 1 / numpy_helper.to_array(constants[scaled.input[1]])
            graph.initializer.append(numpy_helper.from_array(divisor, f"{name}/divisor"))
            argument = f"{name}/x"
            new.append(
                helper.make_node("Div", [inner.input[0], f"{name}/divisor"], [argument], argument)
            )
        new.append(helper.make_node("Erf", [argument], [f"{name}/erf"], f"{name}/erf"))
        last = "Add" if negated else "Sub"
        new.append(helper.make_node(last, [one, f"{name}/erf"], [result], name))
        graph.node.remove(node)
        for offset, each in enumerate(new):
            graph.node.insert(place + offset, each)
        for each in [made for made in (scaled, inner) if negated and made is not None]:
            read = {name for other in graph.node for name in other.input}
            read.update(output.name for output in graph.output)
            if not read & set(each.output):
                graph.node.remove(each)
    return len(found)
