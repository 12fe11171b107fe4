"""`EinsumProduct`: an einsum of a tensor and a kernel, seen as one product of two matrices."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

_ELLIPSIS = "..."


def not_one_product(equation: str) -> str:
    """Why an einsum of an input and a kernel is not one product of two matrices; empty if it is.

    Args:
        equation: As `keras.layers.EinsumDense` takes it, such as "abc,cd->abd" or "...x,xy->...y".
    """
    inputs, kernel, output = _sides(equation.replace(_ELLIPSIS, ""))
    if any(len(set(side)) != len(side) for side in (inputs, kernel, output)):
        return f"{equation!r} has an axis twice and is computed in float"
    if set(inputs) & set(kernel) & set(output):
        return f"{equation!r} has a kernel for each entry of an axis and is computed in float"
    if not set(inputs) & set(kernel):
        return f"{equation!r} sums over no axis of its kernel and is computed in float"
    if not set(inputs) <= set(kernel) | set(output) or not set(kernel) <= set(inputs) | set(output):
        return f"{equation!r} sums over an axis of one side alone and is computed in float"
    return ""


def _sides(equation: str) -> tuple[str, str, str]:
    operands, output = equation.split("->")
    inputs, kernel = operands.split(",")
    return inputs, kernel, output


def explicit(equation: str, rank: int) -> str:
    """`equation` with a letter for each axis that "..." stands for in an input of `rank` axes."""
    inputs = _sides(equation)[0]
    unused = [letter for letter in string.ascii_letters if letter not in equation]
    elided = "".join(unused[: rank - len(inputs.replace(_ELLIPSIS, ""))])
    return equation.replace(_ELLIPSIS, elided)


@dataclass(frozen=True)
class EinsumProduct:
    """An einsum for which `not_one_product` has no reason.

    The rows of the product are the axes that the input alone has, its columns those that the
    kernel alone has; both sides are multiplied over the axes that they share.

    Attributes:
        equation: With a letter for each axis, see `explicit`.
    """

    equation: str

    @cached_property
    def _letters(self) -> tuple[str, str, str]:
        return _sides(self.equation)

    @property
    def rows(self) -> str:
        """The axes of the rows, in the order of the input."""
        inputs, kernel, _ = self._letters
        return "".join(axis for axis in inputs if axis not in kernel)

    @property
    def summed(self) -> str:
        """The axes that are summed over, in the order of the input."""
        inputs, kernel, _ = self._letters
        return "".join(axis for axis in inputs if axis in kernel)

    @property
    def columns(self) -> str:
        """The axes of the columns, in the order of the output."""
        inputs, _, output = self._letters
        return "".join(axis for axis in output if axis not in inputs)

    @cached_property
    def input_order(self) -> tuple[int, ...]:
        """How the input's axes are transposed to `[rows..., summed...]`."""
        return _order(self._letters[0], self.rows + self.summed)

    @cached_property
    def kernel_order(self) -> tuple[int, ...]:
        """How the kernel's axes are transposed to `[summed..., columns...]`."""
        return _order(self._letters[1], self.summed + self.columns)

    @cached_property
    def output_order(self) -> tuple[int, ...]:
        """How `[rows..., columns...]` is transposed to the output."""
        return _order(self.rows + self.columns, self._letters[2])

    def row_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """The shape of an input as `[rows..., summed...]`."""
        return tuple(input_shape[axis] for axis in self.input_order)

    def output_shape(self, input_shape: Any, column_shape: Any) -> tuple[int | None, ...]:
        """The shape of the output, of that of the input and of the columns."""
        shape = (*self.row_shape(input_shape)[: len(self.rows)], *column_shape)
        return tuple(shape[axis] for axis in self.output_order)

    def observed(self, x: Any, watch: Callable[[Any], Any]) -> Any:
        """`x` with its axes as they were, seen by `watch` as `[rows..., summed...]`."""
        return _through(x, self.input_order, watch)

    def to_rows(self, x: Any) -> Any:
        """`x` as `[rows..., summed...]`."""
        return x if _stays(self.input_order) else ops.transpose(x, self.input_order)

    def quantized(self, kernel: Any, quantize: Callable[[Any, int], Any]) -> Any:
        """`kernel`, its axes as they were, by a function of `[summed..., columns...]`.

        Args:
            kernel: Of the einsum.
            quantize: Function of the kernel and of how many leading axes are summed over.
        """
        return _through(kernel, self.kernel_order, lambda k: quantize(k, len(self.summed)))

    def matrix(self, kernel: np.ndarray) -> np.ndarray:
        """The kernel as `[k, n]`."""
        ordered = kernel.transpose(self.kernel_order)
        return ordered.reshape(math.prod(ordered.shape[: len(self.summed)]), -1)

    def column_bias(self, bias: np.ndarray, column_shape: Any) -> np.ndarray:
        """A bias of the output's last axes, of size 1 where it is no column's, as `[n]`."""
        output = self._letters[2]
        sizes = dict(zip(output[len(output) - bias.ndim :], bias.shape, strict=True))
        shape = [sizes.get(axis, 1) for axis in self.columns]
        return np.broadcast_to(bias.reshape(shape), column_shape).reshape(-1)


def _order(axes: str, wanted: str) -> tuple[int, ...]:
    return tuple(axes.index(axis) for axis in wanted)


def _stays(order: tuple[int, ...]) -> bool:
    return order == tuple(range(len(order)))


def _through(x: Any, order: tuple[int, ...], function: Callable[[Any], Any]) -> Any:
    """`function` of `x` transposed by `order`, transposed back."""
    if _stays(order):
        return function(x)
    back = tuple(int(axis) for axis in np.argsort(order))
    return ops.transpose(function(ops.transpose(x, order)), back)
