"""What every converted layer shares: it is frozen, and its arrays are saved in plain form."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial, wraps
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

# No public name; the same function from Keras 3.12 on.
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.layers.inference.arrays import NotFiniteError
from keras_int8nmt.layers.inference.frozen_array import FrozenArray
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import QuantParams


def params_config(params: QuantParams | None) -> dict[str, Any] | None:
    """`params` as JSON values; a float32 survives the way through a JSON number unchanged."""
    if params is None:
        return None
    return {
        "scale": float(params.scale),
        "zero_point": int(params.zero_point),
        "dtype": params.dtype,
    }


def params_from_config(config: dict[str, Any] | QuantParams) -> QuantParams:
    """What `params_config` was made of."""
    if isinstance(config, QuantParams):
        return config
    return QuantParams(np.float32(config["scale"]), int(config["zero_point"]), str(config["dtype"]))


def optional_params(config: dict[str, Any] | QuantParams | None) -> QuantParams | None:
    """Likewise, or None for None: float32 output."""
    return None if config is None else params_from_config(config)


def _naming(load: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """`load_own_variables` of a layer, whose name stands before an error about its arrays."""

    @wraps(load)
    def named(layer: Any, store: Any) -> None:
        layer._listed = None
        try:
            load(layer, store)
        except NotFiniteError as error:
            raise NotFiniteError(f"Layer {layer.path or layer.name!r}: {error}") from error

    return named


class NoWeightsError(KerasInt8nmtError, ValueError):
    """A frozen layer was called before `convert` or a saved model gave it its arrays."""


class FrozenLayer(keras.layers.Layer):
    """Base of the inference layers: no Keras variables, no training, no XLA.

    Keras may compile a model with XLA, which knows no custom op, hence `supports_jit = False`. The
    arrays are constants and not variables, so that nobody can assign weights that the packed form
    would not follow; `save_own_variables` and `load_own_variables` of the subclasses carry them
    through a saved model. `weights` lists them as they are saved (`FrozenArray`), so that `summary`
    and `count_params` tell of INT8 sizes; `variables` has none of them.

    The arithmetic is float32 and integers, whatever the dtype policy in force. A layer that is made
    of one with another policy (`dtype="mixed_bfloat16"`) reads and gives floats of its type, so
    that its neighbours find what they are used to.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "load_own_variables" in cls.__dict__:
            cls.load_own_variables = _naming(cls.load_own_variables)

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("trainable", None)
        # Not that of the process, which may be another where a saved model is loaded.
        kwargs.setdefault("dtype", "float32")
        super().__init__(trainable=False, **kwargs)
        self.supports_jit = False
        self.supports_masking = True
        self._listed: tuple[FrozenArray, ...] | None = None
        # Nothing to make in `build`: the arrays come from `convert` or from a saved model.
        self.built = True

    @property
    def weights(self) -> list[Any]:
        """Its arrays, and those of the layers in it; none before it has any."""
        return [*self._own_arrays(), *super().weights]

    def count_params(self) -> int:
        """How many numbers it holds: weights, their scales and biases."""
        return sum(math.prod(array.shape) for array in self.weights)

    def _own_arrays(self) -> tuple[FrozenArray, ...]:
        if self._listed is None:
            try:
                stored = self._stored()
            except NoWeightsError:
                return ()
            path = self.path or self.name
            self._listed = tuple(
                FrozenArray(f"{path}/{name}", array, partial(self._read, name))
                for name, array in stored.items()
            )
        return self._listed

    def _read(self, name: str) -> np.ndarray:
        return np.asarray(self._stored()[name])

    def _stored(self) -> dict[str, Any]:
        """What a saved model holds of it."""
        store: dict[str, Any] = {}
        self.save_own_variables(store)
        return store

    @property
    def precisions(self) -> set[str]:
        """The precisions that its MatMuls have: "int8", "float32" or both; none without MatMuls."""
        return set()

    def code_inputs(self, given: Collection[str]) -> dict[str, QuantParams]:
        """Which arguments of a call may be codes, and which codes it makes of their floats.

        Args:
            given: Names of the arguments that the call has.
        """
        return {}

    def writing(self, params: QuantParams) -> Self | None:
        """This layer with codes as its output, those that `params` make of its floats.

        None where it can only give floats. Products and weights are shared with this layer. In a
        call with `training=True` it gives floats, too: what then lies between it and its readers,
        such as dropout, needs them.
        """
        return None

    @property
    def float_type(self) -> str:
        """The type of the floats that it gives."""
        return str(self.compute_dtype)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except NoWeightsError:
            if not in_symbolic_scope():
                raise
        # A file is being loaded: the layer that holds this one is called for its shapes alone.
        spec = self.compute_output_spec(*args, **kwargs)
        return keras.tree.map_structure(
            lambda one: tf.compat.v1.placeholder(one.dtype, one.shape), spec
        )

    def compute_output_shape(self, input_shape: Any, *_: Any) -> Any:
        """As `compute_output_spec` has it, for wrappers such as `TimeDistributed`."""
        return self.compute_output_spec(keras.KerasTensor(input_shape)).shape

    def given(self, output: tf.Tensor) -> tf.Tensor:
        """`output`, float32 or codes, as its neighbours read it."""
        if self.float_type == "float32" or not output.dtype.is_floating:
            return output
        return tf.cast(output, self.float_type)

    def _require(self, value: Any) -> Any:
        if value is None:
            raise NoWeightsError(
                f"Layer {self.path or self.name!r} ({type(self).__name__}) has no weights yet. "
                "Converted layers get them from `convert(model)` or from a saved model; a clone, "
                "or what `from_config` makes, has none: save and load the model to copy it."
            )
        return value


def as_float32(x: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """`x` as the products read it, where a layer of another dtype policy gave it; codes as well.

    A sparse one is made dense, as `QuantDense` does.
    """
    x = as_dense(x)
    return tf.cast(x, tf.float32) if x.dtype.is_floating else x


def as_dense(x: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """`x`, with zeros where a sparse tensor says nothing."""
    return tf.sparse.to_dense(x) if isinstance(x, tf.SparseTensor) else x


def as_codes(x: tf.Tensor, params: QuantParams) -> tf.Tensor:
    """`x` quantized by `params`; codes that a fused layer already wrote pass through."""
    if x.dtype == tf.float32:
        return ops.quantize(x, float(params.scale), params.zero_point, params.dtype)
    if x.dtype.name != params.dtype:
        raise ValueError(
            f"Expected float32 values or {params.dtype} codes; received a tensor of {x.dtype.name}."
        )
    return x


def output_step(params: QuantParams | None) -> dict[str, Any]:
    """The arguments with which an op writes its output as codes, or as float32 for None."""
    if params is None:
        return {"out_dtype": "float32"}
    return {
        "out_dtype": params.dtype,
        "out_scale": float(params.scale),
        "out_zero_point": params.zero_point,
    }
