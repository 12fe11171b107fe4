"""Whether a folder holds a model, and of which format; told without Keras."""

from __future__ import annotations

import os
from pathlib import Path

from keras_int8nmt.importers.table import (
    Format,
    foreign_search_defaults,
    format_of,
    known_marks,
)
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.storage.card import CARD_FILE, read_card, search_defaults_of
from keras_int8nmt.storage.folders import ModelFolderError, put_back


def recognise(path: str | os.PathLike[str]) -> Format | None:
    """The foreign format of a model; None of a folder of ours, whose card is checked.

    Args:
        path: A folder, or a file in a format that is one.

    Raises:
        ModelFolderError: where `open_model` would find no model, or a damaged card.
    """
    folder = Path(path)
    put_back(folder)
    if folder.is_file() and (found := format_of(folder)) is not None:
        return found
    if not folder.is_dir():
        raise ModelFolderError(f"There is no model folder {str(folder)!r}.")
    if (folder / CARD_FILE).is_file():
        read_card(folder)
        return None
    found = format_of(folder)
    if found is not None:
        return found
    marks = [f"{CARD_FILE} (of keras-int8nmt)", *known_marks()]
    raise ModelFolderError(
        f"{str(folder)!r} is not a model folder: it has neither {' nor '.join(marks)}."
    )


def search_defaults(path: str | os.PathLike[str]) -> SearchDefaults:
    """What a model asks of a search where its user says nothing.

    Raises:
        ModelFolderError: see `recognise`.
        KerasInt8nmtError: of a foreign format.
    """
    found = recognise(path)
    if found is not None:
        return foreign_search_defaults(Path(path), found)
    return search_defaults_of(path, read_card(path))
