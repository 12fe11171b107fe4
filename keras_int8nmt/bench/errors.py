"""What a user can mend."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class BenchError(KerasInt8nmtError, ValueError):
    """What was asked of a benchmark can't be done; the message says why."""
