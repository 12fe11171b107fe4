"""What conversion raises."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class ConversionError(KerasInt8nmtError, ValueError):
    """The model can't be converted; the message names the layers and what they lack."""
