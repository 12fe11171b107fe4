"""Branches chosen by a variable, cheap to trace and cheap where they are not taken."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

_ALWAYS: ContextVar[bool] = ContextVar("always_taken", default=False)

Spec = tuple[tuple[int | None, ...] | None, str]


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
            return one_operation(function, tensor_specs(signature))

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            if keras.config.backend() != "tensorflow" or _ALWAYS.get():
                return function(*arguments)
            return tensorflow_function()(*arguments)

        return call

    return decorate


@contextmanager
def always_taken() -> Iterator[None]:
    """In this block and thread graphs have no branches: what may be applied is, and none counts."""
    before = _ALWAYS.set(True)
    try:
        yield
    finally:
        _ALWAYS.reset(before)


def in_tensorflow_graph() -> bool:
    """Whether TensorFlow is tracing what is called now."""
    if keras.config.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly()


def tensorflow_graph() -> Any:
    """The graph that TensorFlow is tracing now."""
    import tensorflow as tf

    return tf.compat.v1.get_default_graph()


def value_while_traced(scalar: Any) -> int | None:
    """What a variable of TensorFlow holds while a graph is traced, which itself reads it later.

    None under a strategy, which has copies, and in a graph of TensorFlow 1.
    """
    import tensorflow as tf

    if tf.distribute.has_strategy():
        return None
    with tf.init_scope():
        return int(scalar.value) if tf.executing_eagerly() else None


def known_on_jax(scalar: Any) -> int | None:
    """What a scalar of JAX is; None while a function is traced, and on other back ends.

    Outside of traces JAX would compile both branches of a `cond` anew for each call.
    """
    if keras.config.backend() != "jax":
        return None
    try:
        return int(scalar)
    except TypeError:
        # JAX's refusal to tell the value of what is traced.
        return None


def apply_if(
    condition: Any,
    function: Callable[..., Any],
    x: Any,
    *others: Any,
    straight_through: bool = False,
) -> Any:
    """`function(x, *others)` where `condition` holds, else `x`.

    In a TensorFlow graph it is one call of a function with both branches, forwards and one
    backwards, which is traced once per process for tensors of this rank and dtype: a large model
    has hundreds, and branches of its own for each were most of the time until its first step.
    TensorFlow inlines the call, so that each branch is one operation in the end.

    The backward pass computes `function` again where the condition holds, since XLA can't compile
    what a branch leaves for it in a graph that was traced without XLA.

    Args:
        condition: Bool scalar; where it is `False` itself, there is no branch.
        function: One of a module: those are few, and what was traced is kept for it.
        x: Float tensor.
        *others: More tensors; those of float dtype have gradients.
        straight_through: Whether the gradient of `function` is the one of `x` alone, unchanged.
    """
    if condition is False:
        return x
    if _ALWAYS.get():
        return function(x, *others)
    if not in_tensorflow_graph():
        known = known_on_jax(condition)
        if known is not None:
            return function(x, *others) if known else x
        return ops.cond(condition, lambda: function(x, *others), lambda: x)
    tensors = [ops.convert_to_tensor(tensor) for tensor in (x, *others)]
    y = _either(function, straight_through, *map(spec_of, tensors))(condition, *tensors)
    y.set_shape(tensors[0].shape)
    return y


def assign_if(
    condition: Any, variables: Sequence[Any], function: Callable[..., Any], *arguments: Any
) -> None:
    """TensorFlow: where `condition` holds, `variables` become what `function` makes of them.

    In a graph it is one call of a function that is traced once per process, as in `apply_if`. It is
    not inlined: of its dozen arguments each would be several operations of the graph.

    Args:
        condition: Bool scalar; where it is `False` itself, there is no branch.
        variables: Keras variables.
        function: One of a module, of `(values of the variables, *arguments)`; gives new values.
        *arguments: Tensors; numbers and None, which are traced as they are.
    """

    if condition is False or _ALWAYS.get():
        return

    def assign() -> bool:
        values = tuple(ops.convert_to_tensor(variable) for variable in variables)
        for variable, value in zip(variables, function(values, *arguments), strict=True):
            variable.value.assign(value)
        return True

    if not all(hasattr(variable.value, "assign") for variable in variables):
        # Keras asks for shapes alone; there is no variable yet.
        return
    handles = _handles(variables) if in_tensorflow_graph() else None
    if handles is None:
        ops.cond(condition, assign, lambda: False)
        return
    specs = tuple((tuple(variable.shape), variable.dtype) for variable in variables)
    kinds = [a if a is None or isinstance(a, int) else spec_of(a) for a in arguments]
    tensors = [a for a in arguments if a is not None and not isinstance(a, int)]
    _assigning(function, specs, *kinds)(condition, *handles, *tensors)


def spec_of(tensor: Any) -> Spec:
    """Rank, length of the last axis, and dtype: what a function is traced for."""
    if tensor.shape.rank is None:
        return None, keras.backend.standardize_dtype(tensor.dtype)
    shape = tuple(tensor.shape)
    return (*(None for _ in shape[:-1]), *shape[-1:]), keras.backend.standardize_dtype(tensor.dtype)


def tensor_specs(specs: Sequence[Spec]) -> list[Any]:
    """The input signature of a `tf.function`."""
    import tensorflow as tf

    return [tf.TensorSpec(shape, dtype) for shape, dtype in specs]


def one_operation(
    function: Callable[..., Any], signature: Sequence[Any] | None = None
) -> Callable[..., Any]:
    """`function` as one operation of a TensorFlow graph, traced for any tensors or for some."""
    import tensorflow as tf

    return tf.function(
        function,
        input_signature=signature,
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


@functools.cache
def _either(
    function: Callable[..., Any], straight_through: bool, *specs: Spec
) -> Callable[..., Any]:
    import tensorflow as tf

    def through(upstream: Any, *tensors: Any) -> Any:
        trained = [tensor for tensor in tensors if tensor.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(trained)
            y = function(*tensors)
        zero = tf.UnconnectedGradients.ZERO
        return tuple(tape.gradient(y, trained, upstream, unconnected_gradients=zero))

    taken, taken_backwards = one_operation(function), one_operation(through)

    def either(condition: Any, *tensors: Any) -> Any:
        def backward(upstream: Any) -> Any:
            if straight_through:
                return None, upstream, *(None for _ in tensors[1:])
            others = [tensor for tensor in tensors[1:] if tensor.dtype.is_floating]
            gradients = tf.cond(
                condition,
                lambda: tuple(taken_backwards(upstream, *tensors)),
                lambda: (upstream, *(tf.zeros_like(tensor) for tensor in others)),
            )
            found = iter(gradients)
            of_tensors = (next(found) if t.dtype.is_floating else None for t in tensors)
            return None, *of_tensors

        return tf.cond(condition, lambda: taken(*tensors), lambda: tensors[0]), backward

    chosen = tf.custom_gradient(either)
    return tf.function(
        lambda *arguments: chosen(*arguments),
        input_signature=tensor_specs([((), "bool"), *specs]),
        autograph=False,
    )


def _handles(variables: Sequence[Any]) -> list[Any] | None:
    """Of TensorFlow's variables; None outside the replicas of a strategy, where they have none."""
    try:
        return [variable.value.handle for variable in variables]
    except ValueError:
        return None


@functools.cache
def _assigning(
    function: Callable[..., Any], variables: tuple[Spec, ...], *kinds: Spec | int | None
) -> Callable[..., Any]:
    import tensorflow as tf

    def assign(handles: Any, tensors: Any) -> bool:
        values = []
        for handle, (shape, dtype) in zip(handles, variables, strict=True):
            value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.as_dtype(dtype))
            value.set_shape(shape)
            values.append(value)
        given = iter(tensors)
        arguments = [next(given) if isinstance(kind, tuple) else kind for kind in kinds]
        new_values = function(tuple(values), *arguments)
        for handle, value in zip(handles, new_values, strict=True):
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        return True

    def assign_if(condition: Any, *arguments: Any) -> None:
        count = len(variables)
        tf.cond(condition, lambda: assign(arguments[:count], arguments[count:]), lambda: False)

    handles = [((), "resource")] * len(variables)
    tensors = [kind for kind in kinds if isinstance(kind, tuple)]
    return one_operation(assign_if, tensor_specs([((), "bool"), *handles, *tensors]))
