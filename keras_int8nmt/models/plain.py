"""`plain_model`: the float model as plain Keras layers, without observers, for fast inference."""

from __future__ import annotations

from typing import Any

from keras_int8nmt.models.build import copy_weights
from keras_int8nmt.models.transformer import Transformer


def plain_model(model: Any) -> Any:
    """A `Transformer` of plain Keras layers with the weights of `model`.

    Args:
        model: Any model. One that is not a `Transformer` with `quant=True` is given back as it is.

    Returns:
        A model with the same float outputs.
    """
    if not isinstance(model, Transformer) or not model.quant:
        return model
    plain = Transformer.from_config({**model.get_config(), "quant": False})
    copy_weights(model, plain)
    plain.search_defaults = model.search_defaults
    return plain
