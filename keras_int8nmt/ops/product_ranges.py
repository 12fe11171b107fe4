"""What the outputs of products reach in a graph, and which of them fake quantization reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

# What the codes of a tensor pass as they are, so that one range serves before and after.
_PASSING = ("ExpandDims", "Identity", "Relu", "Relu6", "Reshape", "Squeeze", "StopGradient",
            "Transpose")  # fmt: skip


@dataclass(frozen=True)
class OutputRange:
    """What a product's output was for a sample.

    Attributes:
        minimum, maximum: Of all its values.
        is_given_by_reader: Whether fake quantization alone reads the output, and one of them, so
            that its range is that of the output, too.
    """

    minimum: float
    maximum: float
    is_given_by_reader: bool


def output_ranges(
    call: Callable[[Any], tuple[Any, list[tf.Tensor]]], sample: Any
) -> list[OutputRange | None]:
    """The ranges of the tensors that a function gives beside its outputs.

    Args:
        call: Function of the sample; its outputs, and the outputs of the products that made them.
        sample: Arrays in any structure that `call` takes.

    Returns:
        One for each product; None for one that a loop or branch of the graph computes.
    """
    given: list[bool | None] = []

    @tf.function(autograph=False)
    def measured(inputs: Any) -> list[tuple[tf.Tensor, tf.Tensor]]:
        outputs, products = call(inputs)
        # An output of the model is a reader, too.
        for output in filter(tf.is_tensor, tf.nest.flatten(outputs)):
            tf.identity(output)
        given.extend(None if is_in_loop_or_branch(p) else _one_range(p) for p in products)
        outside = [p for p in products if not is_in_loop_or_branch(p)]
        return [(tf.reduce_min(p), tf.reduce_max(p)) for p in outside]

    tensors = tf.nest.map_structure(tf.convert_to_tensor, sample)
    # Tracing fills `given`.
    found = iter(measured.get_concrete_function(tensors)(tensors))
    return [None if each is None else _measured(next(found), each) for each in given]


def is_in_loop_or_branch(tensor: tf.Tensor) -> bool:
    """Whether a graph inside of the function that is traced computes a tensor."""
    # Around the function itself is no other function, and so nothing that has something around it.
    return hasattr(tensor.graph.outer_graph, "outer_graph")


def _measured(ends: tuple[tf.Tensor, tf.Tensor], is_given_by_reader: bool) -> OutputRange:
    minimum, maximum = (float(end) for end in ends)
    return OutputRange(minimum, maximum, is_given_by_reader)


def _one_range(tensor: tf.Tensor) -> bool:
    readers = list(_readers(tensor))
    return [reader.type for reader in readers] == ["FakeQuantWithMinMaxArgs"]


def _readers(tensor: tf.Tensor) -> Iterator[tf.Operation]:
    """The operations that read a tensor, behind those that pass its codes on."""
    for operation in tensor.consumers():
        if operation.type == "Shape":
            continue
        passed_on = operation.type in _PASSING and operation.inputs[0].name == tensor.name
        if passed_on and operation.outputs[0].consumers():
            yield from _readers(operation.outputs[0])
        else:
            yield operation
