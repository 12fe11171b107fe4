"""The MatMuls of a layer, as the layer tells them: what is multiplied, and who has watched it.

Policies, reports, output SQNR and the costs of autotuning look at these alone and at no type of
layer. There are two kinds: a tensor times weights, and a product of two tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.fixed_scale import FixedScale
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.projections import MATMULS


def array(variable: Any) -> np.ndarray:
    """The value of a float Keras variable as NumPy, float32 whatever its dtype policy made it.

    For reading alone, as `view`.
    """
    return np.asarray(view(variable), np.float32)


def view(variable: Any) -> np.ndarray:
    """The value of a Keras variable as NumPy, for reading alone.

    Mostly it is no copy: that of a large table would be a third of a model. What is no variable is
    a value already, such as a kernel with its LoRA update.
    """
    if not hasattr(variable, "value"):
        return ops.convert_to_numpy(variable)
    value = variable.value
    # TensorFlow's variables copy themselves into an array; the tensor that is read of one does not.
    read = getattr(value, "read_value", None)
    return np.asarray(value if read is None else read())


def matrix(kernel: Any, summed: int = 1) -> np.ndarray:
    """`[k, n]`: the kernel of a product that sums over its leading `summed` axes.

    So the heads of a projection `[d, heads, dim]` lie side by side, and those that an output
    projection `[heads, dim, d]` reads lie one below the other.
    """
    value = array(kernel)
    return value.reshape(int(np.prod(value.shape[:summed])), -1)


def values_of(variable: Any) -> Callable[[], np.ndarray] | None:
    """What gives the `array` of a variable; None of None."""
    return None if variable is None else lambda: array(variable)


def _name(path: str, part: str) -> str:
    return f"{path}/{part}" if part else path


@dataclass(frozen=True)
class WeightMatMul:
    """A tensor times a weight matrix.

    Attributes:
        path: Of the layer.
        kernel: Gives the weights, float `[k, n]`.
        bias: Gives the bias, n numbers of any shape; None where there is none.
        watchers: Observers of the input: its own, then those that stand in where the layer was
            called with one tensor for several inputs. None of a layer that can't be calibrated.
        part: Which MatMul of the layer it is; empty where there is one.
        of_input: Whether it multiplies the one input of its layer, and so is sparse where that
            comes out of a ReLU.
    """

    kind: ClassVar[str] = "weights"

    path: str
    kernel: Callable[[], np.ndarray]
    bias: Callable[[], np.ndarray] | None = None
    watchers: tuple[Observer, ...] = ()
    part: str = ""
    of_input: bool = False

    @property
    def name(self) -> str:
        """As in the conversion report."""
        return _name(self.path, self.part)

    @property
    def sides(self) -> tuple[Observer, ...]:
        """All that may have seen the input."""
        return self.watchers

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The one whose thresholds count: the first that has any."""
        calibrated = [observer for observer in self.watchers if observer.is_calibrated]
        return tuple((calibrated or list(self.watchers[-1:]))[:1])


@dataclass(frozen=True)
class TensorMatMul:
    """A product of two tensors.

    Attributes:
        path, part: As in `WeightMatMul`.
        equation: What is multiplied, as `numpy.einsum` reads it; the first axis is the batch.
        sides: Who watches the one and the other; none of a layer that can't be calibrated.
        multiply_adds: For each pair of a query and a key.
    """

    kind: ClassVar[str] = "dynamic"
    of_input: ClassVar[bool] = False

    path: str
    part: str
    equation: str
    multiply_adds: int
    sides: tuple[Observer | FixedScale, ...] = ()

    @property
    def name(self) -> str:
        """As in the conversion report."""
        return _name(self.path, self.part)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Those of its sides that are calibrated. Of a fixed scale nothing is clipped."""
        return tuple(side for side in self.sides if isinstance(side, Observer))


MatMul = WeightMatMul | TensorMatMul


def dense_matmul(layer: Any, *watchers: Observer) -> WeightMatMul:
    """The MatMul of a `keras.layers.Dense`."""
    return WeightMatMul(
        layer.path, lambda: matrix(layer.kernel), values_of(layer.bias), watchers, of_input=True
    )


def attention_matmuls(
    layer: Any,
    sides: Mapping[str, Sequence[Observer | FixedScale]] | None = None,
    projections: Sequence[Any] | None = None,
) -> list[MatMul]:
    """The MatMuls of a `keras.layers.MultiHeadAttention`, in the order of the report.

    Args:
        layer: The layer.
        sides: Who watches, by the names in MATMULS; nobody where it can't be calibrated.
        projections: Its four layers, of query, key, value and output; by default those that Keras
            names.
    """
    watching = {name: tuple((sides or {}).get(name, ())) for name in MATMULS}
    size = {"QK": layer.num_heads * layer.key_dim, "AV": layer.num_heads * layer.value_dim}
    equations = {"QK": "btnh,bsnh->bnts", "AV": "bnts,bsnh->btnh"}
    if projections is None:
        projections = layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense
    query, key, value, output = projections
    # A `Dense` has the heads of its kernel side by side, an `EinsumDense` apart.
    of_output = 2 if len(output.kernel.shape) > 2 else 1
    dense = {
        "query": (query, 1),
        "key": (key, 1),
        "value": (value, 1),
        "attention_output": (output, of_output),
    }

    def matmul(name: str) -> MatMul:
        watchers: Any = watching[name]
        if name in size:
            return TensorMatMul(layer.path, name, equations[name], size[name], watchers)
        part, summed = dense[name]
        return WeightMatMul(
            layer.path, lambda: matrix(part.kernel, summed), values_of(part.bias), watchers, name
        )

    return [matmul(name) for name in MATMULS]
