"""Branches chosen by a variable, cheap to trace and cheap where they are not taken."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Spec = tuple[tuple[int | None, ...], str]


def traced_once(*signature: Spec) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function of tensors one operation of a TensorFlow graph, traced once per process.

    TensorFlow inlines both branches of a `cond`, its executor visits every operation of the branch
    not taken, and a large model has a hundred such branches, each traced by itself. A call that is
    not inlined is one operation, and all layers share what it calls. Other back ends call the
    function as it is.

    Args:
        *signature: `(shape, dtype)` of each argument, None for a length that varies.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.cache
        def tensorflow_function() -> Callable[..., Any]:
            import tensorflow as tf

            return tf.function(
                function,
                input_signature=[tf.TensorSpec(shape, dtype) for shape, dtype in signature],
                autograph=False,
                experimental_attributes={"_noinline": True},
            )

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            if keras.config.backend() != "tensorflow":
                return function(*arguments)
            return tensorflow_function()(*arguments)

        return call

    return decorate


def when(condition: Any, taken: Callable[[], Any], otherwise: Any) -> Any:
    """The tensor that `taken()` makes where `condition` holds, else the tensor `otherwise`."""
    return ops.cond(condition, _one_operation(taken), lambda: otherwise)


def _one_operation(branch: Callable[[], Any]) -> Callable[[], Any]:
    if keras.config.backend() != "tensorflow":
        return branch
    import tensorflow as tf

    if tf.executing_eagerly():
        return branch
    return tf.function(branch, autograph=False, experimental_attributes={"_noinline": True})
