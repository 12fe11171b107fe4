"""The TensorFlow graph that a function of tensors is traced to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf


def graph_of(function: Callable[[Any], Any], like: Any) -> Any:
    """The `GraphDef`, with shapes, of a function called with one batch entry.

    Args:
        function: Of one argument.
        like: Tensors, arrays or symbols of the argument's structure, batch first.

    Raises:
        TypeError: for sparse and ragged tensors, whose lengths nobody knows.
    """

    def spec(x: Any) -> tf.TensorSpec:
        if getattr(x, "sparse", False) or getattr(x, "ragged", False):
            raise TypeError("Sparse and ragged tensors have no lengths.")
        return tf.TensorSpec((1, *x.shape[1:]), x.dtype)

    specs = tf.nest.map_structure(spec, like)
    traced = tf.function(function, autograph=False).get_concrete_function(specs)
    return traced.graph.as_graph_def(add_shapes=True)


def current_scope() -> str:
    """The name scope of what is made now, as it begins the names of operations."""
    return str(tf.get_current_name_scope())


def are_scopes(outer: str, inner: Iterable[str]) -> bool:
    """Whether a graph may have the name scope `outer`, and in it one of each name in `inner`."""
    try:
        with tf.Graph().as_default(), tf.name_scope(outer):
            for name in inner:
                with tf.name_scope(name):
                    pass
    except ValueError:
        return False
    return True
