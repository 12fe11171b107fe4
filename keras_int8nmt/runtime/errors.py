"""What the engines raise where they can't do what they were asked for."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class EngineError(KerasInt8nmtError, RuntimeError):
    """An engine can't translate what it was given; the message says why."""


class EngineGoneError(EngineError):
    """Nobody works any more on what was asked for: the engine was closed, or the process ends."""


class ForkedProcessError(EngineGoneError):
    """A forked child has what its parent began and none of the threads that would go on with it."""
