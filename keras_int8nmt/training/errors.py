"""Errors of text to train on."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class CorpusError(KerasInt8nmtError, ValueError):
    """Sentences can't be trained on; the message names them and says what does not fit."""
