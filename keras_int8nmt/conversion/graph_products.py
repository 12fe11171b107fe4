"""The products in a TensorFlow graph, and how many multiplications each takes.

Layers tell their own MatMuls; code of somebody else's, such as the `call` of a user's layer, tells
nothing. What it multiplies shows in the graph that TensorFlow makes of it, whoever wrote it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int | None, ...] | None

# The library's, for attention: without and with a bias on the scores.
ATTENTION_OPS = ("KerasInt8nmtAttention", "KerasInt8nmtBiasedAttention")

# Functions called by functions; a graph that is deeper has a cycle, which TensorFlow refuses.
_DEEPEST = 64


@dataclass(frozen=True)
class GraphProduct:
    """A product of a graph.

    Attributes:
        names: Its name, after those of the operations that call the functions around it.
        operation: TensorFlow's name of it, such as "MatMul".
        precision: "int8" or "float32" (any float type).
        multiplications: How many; None where a shape is not known or a loop runs it.
    """

    names: tuple[str, ...]
    operation: str
    precision: str
    multiplications: int | None


class _Node:
    """An operation of a graph or of a function in it, with shapes as far as they are known."""

    def __init__(self, node: Any, shapes: _Shapes) -> None:
        self.type: str = node.op
        self.name: str = node.name
        self._node = node
        self._shapes = shapes

    def attribute(self, name: str) -> Any:
        return self._node.attr[name]

    @property
    def output(self) -> Shape:
        return self._shapes.of(self.name)

    def input(self, index: int) -> Shape:
        return self._shapes.of(self._node.input[index])

    def functions(self) -> Iterator[str]:
        """The functions that it calls."""
        for value in self._node.attr.values():
            kind = value.WhichOneof("value")
            if kind == "func":
                yield value.func.name
            elif kind == "list":
                yield from (function.name for function in value.list.func)


class _Shapes:
    """The shapes of what the operations of one graph give, and of its arguments."""

    def __init__(self, nodes: Any, arguments: Mapping[str, Shape]) -> None:
        self._outputs = {
            node.name: [_shape(s) for s in node.attr["_output_shapes"].list.shape] for node in nodes
        }
        self._arguments = arguments

    def of(self, tensor: str) -> Shape:
        """Of a tensor as inputs name it: `node`, `node:1`, or in a function `node:output:1`."""
        name, *place = tensor.split(":")
        if name in self._arguments:
            return self._arguments[name]
        shapes = self._outputs.get(name, [])
        if len(shapes) == 1:
            return shapes[0]
        # Of several outputs only a list says by its index which one is meant.
        known = len(place) < 2 or place[0] == "output"
        index = int(place[-1]) if place else 0
        return shapes[index] if known and index < len(shapes) else None


def _shape(proto: Any) -> Shape:
    if proto.unknown_rank:
        return None
    return tuple(None if d.size < 0 else int(d.size) for d in proto.dim)


def products_of(graph_def: Any) -> list[GraphProduct]:
    """The products of a graph and of the functions that it calls, in its order.

    Args:
        graph_def: What `tf.Graph.as_graph_def(add_shapes=True)` gives.
    """
    library = {f.signature.name: f for f in graph_def.library.function}
    return list(_products(graph_def.node, {}, library, (), False, 0))


def _products(
    nodes: Any,
    arguments: Mapping[str, Shape],
    library: Mapping[str, Any],
    outer: tuple[str, ...],
    looped: bool,
    depth: int,
) -> Iterator[GraphProduct]:
    shapes = _Shapes(nodes, arguments)
    for each in nodes:
        node = _Node(each, shapes)
        names = (*outer, node.name)
        for precision, count in _RULES.get(node.type, _nothing)(node):
            yield GraphProduct(names, node.type, precision, None if looped else count)
        if depth == _DEEPEST:
            continue
        for name in node.functions():
            function = library.get(name)
            # A gradient, or a function that is not in this graph.
            if function is None:
                continue
            inner = _arguments_of(function)
            loop = looped or "While" in node.type
            yield from _products(function.node_def, inner, library, names, loop, depth + 1)


def _arguments_of(function: Any) -> dict[str, Shape]:
    shapes = function.attr["_input_shapes"].list.shape
    names = [argument.name for argument in function.signature.input_arg]
    return dict(zip(names, map(_shape, shapes), strict=False))


Counts = list[tuple[str, int | None]]


def _nothing(node: _Node) -> Counts:
    return []


def _times(shape: Shape, *factors: int | None) -> int | None:
    """The product of all lengths and factors; None where one is not known."""
    if shape is None or None in shape or None in factors:
        return None
    return math.prod((*shape, *factors))  # type: ignore[arg-type]


def _length(shape: Shape, axis: int) -> int | None:
    return None if shape is None or len(shape) < abs(axis) else shape[axis]


def _matmul(transposed: str) -> Callable[[_Node], Counts]:
    def count(node: _Node) -> Counts:
        summed = _length(node.input(0), -2 if node.attribute(transposed).b else -1)
        # Of whole numbers, such as masks; or an outer product, which sums nothing.
        if node.attribute("T").type in _WHOLE or summed == 1:
            return []
        return [("float32", _times(node.output, summed))]

    return count


# Of `tf.DType.as_datatype_enum`: int32, uint8, int16, int8, int64.
_WHOLE = {3, 4, 5, 6, 9}


def _einsum(node: _Node) -> Counts:
    equation = node.attribute("equation").s.decode()
    given, _, result = equation.partition("->")
    terms = given.split(",")
    nothing_summed = set(given) - set(".,") <= set(result)
    if len(terms) < 2 or nothing_summed or node.attribute("T").type in _WHOLE:
        return []
    sizes: dict[str, int | None] = {}
    batches: list[tuple[int | None, ...]] = [()]
    for index, term in enumerate(terms):
        shape = node.input(index)
        if shape is None:
            return [("float32", None)]
        head, dots, tail = term.partition("...")
        if dots:
            batches.append(shape[len(head) : len(shape) - len(tail)])
        lengths = [*shape[: len(head)], *shape[len(shape) - len(tail) :]]
        for label, size in zip(head + tail, lengths, strict=True):
            sizes[label] = size if sizes.get(label) in (None, 1) else sizes[label]
    batch = max(batches, key=len)
    return [("float32", _times((*sizes.values(), *batch)))]


def _convolution(*summed: int) -> Callable[[_Node], Counts]:
    """For each value of the output, the axes of the kernel that are summed over."""

    def count(node: _Node) -> Counts:
        kernel = node.input(1)
        return [("float32", _times(node.output, *(_length(kernel, axis) for axis in summed)))]

    return count


def _transposed_convolution(node: _Node) -> Counts:
    kernel = node.input(1)
    # Every value that comes in meets the whole kernel of its channel.
    lengths = (_length(kernel, axis) for axis in range(-len(kernel or ()), -1))
    return [("float32", _times(node.input(2), *lengths))]


def _packed(precision: str) -> Callable[[_Node], Counts]:
    return lambda node: [(precision, _times(node.output, _length(node.input(0), -1)))]


def _attention(node: _Node) -> Counts:
    """QK^T and AV of the library's ops, which read int8 alone."""
    query, keys = node.input(0), _length(node.input(1), -2)
    pairs = _times(None if query is None else query[:-1], keys, node.attribute("num_heads").i)
    sizes = [node.attribute(name).i for name in ("head_dim", "value_dim")]
    return [("int8", None if pairs is None else pairs * size) for size in sizes]


_RULES: dict[str, Callable[[_Node], Counts]] = {
    "MatMul": _matmul("transpose_a"),
    "BatchMatMul": _matmul("adj_x"),
    "BatchMatMulV2": _matmul("adj_x"),
    "Einsum": _einsum,
    "Conv2D": _convolution(0, 1, 2),
    "Conv3D": _convolution(0, 1, 2, 3),
    "DepthwiseConv2dNative": _convolution(0, 1),
    "Conv2DBackpropInput": _transposed_convolution,
    "Conv3DBackpropInputV2": _transposed_convolution,
    "KerasInt8nmtMatMul": _packed("int8"),
    "KerasInt8nmtDynamicMatMul": _packed("int8"),
    **dict.fromkeys(ATTENTION_OPS, _attention),
}
