"""What layers are asked for, where that shows only in a call and none has been."""

from __future__ import annotations

import keras

from keras_int8nmt.layers.model_state import quant_layers
from keras_int8nmt.ops.graphs import graph_of


def note_calls(model: keras.Model, *, assume: bool) -> None:
    """Lets the Quant layers of a model see what they are asked for, by tracing one call.

    `quantize_model` copies a model without calling it, and so does who loads weights: an embedding
    knows not yet whether its table is multiplied, and attention not whether its scores are wanted.
    Nothing is computed, and nothing is done where each such layer was called before.

    Args:
        model: A built model; one whose inputs nobody told can't be traced.
        assume: Whether a layer that no call reaches then counts as asked for all that it can do.
    """
    waiting = [x for x in quant_layers(model) if x.depends_on_calls and not x.was_called]
    if not waiting or keras.config.backend() != "tensorflow":
        return
    try:
        given = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        graph_of(lambda inputs: model(inputs, training=False), given)
    except Exception:
        # Any code of the user's own may have run; the first call will tell what it says.
        pass
    for layer in waiting:
        if assume and not layer.was_called:
            layer.assume_calls()
