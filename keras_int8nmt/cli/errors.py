"""What is wrong with what the command line was asked for."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class UsageError(KerasInt8nmtError, ValueError):
    """What the user asked for can't be done; the message says why."""
