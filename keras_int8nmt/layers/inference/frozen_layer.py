"""What every converted layer shares: it is frozen, and its arrays are saved in plain form."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

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


class FrozenLayer(keras.layers.Layer):
    """Base of the inference layers: no Keras variables, no training, no XLA.

    Keras may compile a model with XLA, which knows no custom op, hence `supports_jit = False`. The
    arrays are constants and not variables, so that nobody can assign weights that the packed form
    would not follow; `save_own_variables` and `load_own_variables` of the subclasses carry them
    through a saved model.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("trainable", None)
        super().__init__(trainable=False, **kwargs)
        self.supports_jit = False
        self.supports_masking = True
        # Nothing to make in `build`: the arrays come from `convert` or from a saved model.
        self.built = True

    @property
    def precisions(self) -> set[str]:
        """The precisions that its MatMuls have: "int8", "float32" or both; none without MatMuls."""
        return set()

    def _require(self, value: Any) -> Any:
        if value is None:
            raise ValueError(
                f"Layer {self.path or self.name!r} ({type(self).__name__}) has no weights yet. "
                "Converted layers get them from `convert(model)` or from a saved model."
            )
        return value


def as_codes(x: tf.Tensor, params: QuantParams) -> tf.Tensor:
    """`x` quantized by `params`; codes that a fused layer already wrote pass through."""
    if x.dtype == tf.float32:
        return ops.quantize(x, float(params.scale), params.zero_point, params.dtype)
    if x.dtype.name != params.dtype:
        raise ValueError(
            f"Expected float32 values or {params.dtype} codes; received a tensor of {x.dtype.name}."
        )
    return x
