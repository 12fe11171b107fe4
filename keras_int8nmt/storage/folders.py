"""Folders that are there as a whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_int8nmt.errors import KerasInt8nmtError


class ModelFolderError(KerasInt8nmtError, ValueError):
    """A model folder can't be read or written; the message names the file and what is wrong."""


def check_writable(folder: str | os.PathLike[str], force: bool, mark: str) -> None:
    """Raises ModelFolderError where a folder must not be written; changes nothing.

    Args:
        folder: Where to write.
        force: Whether a folder that is there may be replaced.
        mark: A file by which it is known to be one that may.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ModelFolderError(f"{str(folder)!r} is not a folder.")
    if not folder.parent.is_dir():
        raise ModelFolderError(f"There is no folder {str(folder.parent)!r} to write into.")
    if not folder.exists():
        return
    if not force:
        raise ModelFolderError(f"{str(folder)!r} exists already; force replaces it.")
    # What is replaced is deleted: never somebody's home by a slip.
    if any(folder.iterdir()) and not (folder / mark).is_file():
        raise ModelFolderError(
            f"{str(folder)!r} holds other files and no {mark}; it is not replaced."
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft beside `folder`, which takes its place at the end; after an error nothing is left."""
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield draft
        # mkdtemp's folders are for their owner alone.
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o777 & ~umask)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            os.replace(folder, old / "replaced")
            os.replace(draft, folder)
            shutil.rmtree(old)
        else:
            os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
