"""Folders that are there as a whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_int8nmt.errors import KerasInt8nmtError

# By which a SavedModel is known.
SAVED_MODEL_FILE = "saved_model.pb"
# Of a folder that is being replaced, where that takes two steps.
_OLD, _REPLACED = ".old.", "replaced"
# Of Linux: <fcntl.h>, <linux/fs.h>.
_CWD, _RENAME_EXCHANGE = -100, 2


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
    put_back(folder)
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
    """A draft beside `folder`, which takes its place at the end; after an error nothing is left.

    On Linux the two change places in one step. Elsewhere a process that ends between two steps
    leaves none in that place, and `put_back` mends it when the folder is next asked for.
    """
    # Here: what only translates needs it not, and it takes long to import.
    import shutil
    import tempfile

    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield draft
        # mkdtemp's folders are for their owner alone.
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o777 & ~umask)
        put_back(folder)
        if not folder.exists():
            os.rename(draft, folder)
        elif not _exchange(draft, folder):
            _replace_in_two_steps(draft, folder)
        # The draft is what was replaced, or gone.
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def put_back(folder: Path) -> None:
    """Puts a folder back that a process was replacing when it ended, between two renames.

    Only where the system can't exchange two folders at once is there such a moment.
    """
    if os.path.lexists(folder) or not folder.name:
        return
    # Another process may do it at the same time; and where nothing can be written, nothing was.
    with contextlib.suppress(OSError):
        for old in folder.parent.iterdir():
            if old.name.startswith(f".{folder.name}{_OLD}") and (old / _REPLACED).is_dir():
                os.rename(old / _REPLACED, folder)
                old.rmdir()
                return


def _replace_in_two_steps(draft: Path, folder: Path) -> None:
    import shutil
    import tempfile

    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}{_OLD}", dir=folder.parent))
    try:
        os.rename(folder, old / _REPLACED)
        os.rename(draft, folder)
    except BaseException:
        put_back(folder)
        with contextlib.suppress(OSError):
            old.rmdir()
        raise
    shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders at once; whether the system and the file system can."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        # Not Linux, or a C library before 2018.
        return False
    arguments = (_CWD, os.fsencode(one), _CWD, os.fsencode(other), _RENAME_EXCHANGE)
    # Whatever the reason is, the other way finds it too, and has an error to tell it.
    return rename(*arguments) == 0
