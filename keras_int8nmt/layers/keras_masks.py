"""The masks that Keras hangs on tensors, as `keras.layers.MultiHeadAttention` treats them.

Keras gives a layer each mask twice: on the tensor and as an argument. Attention takes the masks off
its inputs, so that layers behind it that read the same tensors do not see them, heeds the one that
was on the query, whatever the argument says, and hangs that one on its output.
"""

from __future__ import annotations

from typing import Any

# No public name; the same functions from Keras 3.12 on.
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask


def take_masks(query: Any, *others: Any) -> Any:
    """Takes the masks off the inputs of attention; gives that of `query`, or None."""
    mask = get_keras_mask(query)
    for tensor in (query, *others):
        if tensor is not None:
            set_keras_mask(tensor, None)
    return mask


def with_mask(output: Any, mask: Any) -> Any:
    """`output`, which carries `mask` unless that is None."""
    if mask is not None:
        set_keras_mask(output, mask)
    return output
