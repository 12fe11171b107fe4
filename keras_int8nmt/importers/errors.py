"""Errors of foreign folders, for those who tell of a folder without Keras as well."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class MarianFormatError(KerasInt8nmtError, ValueError):
    """A Marian folder lacks something, has it in another shape, or uses an unsupported option."""


class CTranslate2FormatError(KerasInt8nmtError, ValueError):
    """A CTranslate2 folder lacks something, is damaged, or holds a model that is not supported."""
