"""`.keras` files that anybody may have written: looked at before Keras reads them, one error after.

A `.keras` file is a zip of a configuration in JSON and weights in HDF5. Keras runs no code of one
(`safe_mode`), and refuses external and virtual HDF5 data and weights that were packed too well;
what it does not bound is the configuration.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import open_regular, parse_json
from keras_int8nmt.storage.card import MOST_BYTES
from keras_int8nmt.storage.folders import ModelFolderError

_CONFIG, _METADATA = "config.json", "metadata.json"
# A model of a thousand layers has a tenth of it.
_MOST_CONFIG = 16 << 20
_MOST_METADATA = 1 << 20
_MOST_MEMBERS = 10_000
# Keras packs nothing; weights that another program has packed become twice as large, or so.
_MOST_EXPANSION = 100
# How the names of arguments end that say how large a layer is.
_SIZES = ("units", "filters", "_dim", "_size", "_heads", "_layers", "_length")
_LEAST_SIZE = 1 << 20
# Of an error of another package, which may show the whole configuration.
_MOST_LETTERS = 1000


def load_keras_file(path: Path) -> Any:
    """The model of a `.keras` file.

    Raises:
        ModelFolderError: naming the file, when it is damaged, holds code or no model, or would
            take more memory than a file of its size can be worth. Its cause is the error of
            whoever found it.
    """
    check_keras_file(path)
    import keras

    try:
        model = _load_model(path)
    except Exception as error:  # damage ends in errors of any class, of Keras and of others
        raise ModelFolderError(f"Keras can't load {str(path)!r}: {_told(error)}") from error
    if not isinstance(model, keras.Model):
        raise ModelFolderError(f"{str(path)!r} holds a {type(model).__name__} and no Keras model.")
    return model


def save_keras_file(model: Any, path: Path) -> None:
    """Writes a `.keras` file; without the compiled state where that has no configuration."""
    try:
        model.save(path)
        return
    except Exception as error:
        if not getattr(model, "compiled", False):
            raise
        cause = error
    path.unlink(missing_ok=True)
    from keras_int8nmt.conversion.structural_copy import StructuralCopy

    try:
        # Copies are not compiled.
        StructuralCopy(model).made().save(path)
    except Exception:
        # It was not that.
        raise cause from None
    _warn_not_compiled(model, "saved", cause)


def _warn_not_compiled(model: Any, done: str, cause: Exception) -> None:
    warnings.warn(
        f"Model {model.name!r} is {done} without what it was compiled with (optimizer, loss, "
        f"metrics), since Keras can't: {(str(cause).strip() or repr(cause)).splitlines()[0]}",
        UserWarning,
        stacklevel=3,
    )


def _load_model(path: Path) -> Any:
    """Reads the file; not compiled where Keras does not find what it was compiled with."""
    import keras

    try:
        return keras.saving.load_model(path)
    except Exception as error:
        cause = error
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception:
        # It was not that.
        raise cause from None
    _warn_not_compiled(model, "loaded", cause)
    return model


def check_keras_file(path: Path) -> None:
    """Raises ModelFolderError for a file that is no zip of what a `.keras` file holds.

    What a member unpacks to is bounded by the numbers of the zip's directory, which is what a
    reader of zips goes by.
    """
    with open_regular(path, ModelFolderError) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_members(path, archive.infolist())
                size = sum(member.file_size for member in archive.infolist())
                config = parse_json(archive.read(_CONFIG))
        except ModelFolderError:
            raise
        # Of zipfile: BadZipFile, KeyError, NotImplementedError, RuntimeError (for a password), ...
        except Exception as error:
            raise ModelFolderError(
                f"{str(path)!r} is no Keras model, or damaged: {_told(error)}"
            ) from error
    if not isinstance(config, dict):
        raise ModelFolderError(f"{str(path)!r} has a {_CONFIG} that is no JSON object.")
    _check_sizes(path, config, size)


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(names) != len(set(names)) or len(names) > _MOST_MEMBERS:
        raise ModelFolderError(f"{str(path)!r} has a name twice, or more than {_MOST_MEMBERS}.")
    most = {_CONFIG: _MOST_CONFIG, _METADATA: _MOST_METADATA}
    for member in members:
        size, packed = member.file_size, member.compress_size
        limit = min(most.get(member.filename, MOST_BYTES), _MOST_EXPANSION * packed + (1 << 20))
        if size > limit:
            raise ModelFolderError(
                f"{str(path)!r} holds {member.filename!r} of {size} bytes in {packed}; at most "
                f"{limit} are read."
            )
        if member.filename.startswith("/") or ".." in member.filename.split("/"):
            raise ModelFolderError(
                f"{str(path)!r} holds {member.filename!r}, which leads out of it."
            )
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise ModelFolderError(f"{str(path)!r} holds more than {MOST_BYTES} bytes.")


def _check_sizes(path: Path, config: dict[str, Any], size: int) -> None:
    """Raises ModelFolderError where a layer has more units, rows or heads than there is weight.

    Keras makes the layers before it looks at their weights.

    Args:
        path: The file.
        config: Its configuration.
        size: Bytes of all that it holds.
    """
    # Two weights of four bits in a byte; layers without weights have sizes as well.
    most = max(2 * size, _LEAST_SIZE)
    todo: list[Any] = [config]
    while todo:
        each = todo.pop()
        inner = each.values() if isinstance(each, dict) else each
        todo += [value for value in inner if isinstance(value, dict | list)]
        for name, value in each.items() if isinstance(each, dict) else ():
            if type(value) is int and name.endswith(_SIZES) and value > most:
                raise ModelFolderError(
                    f"{str(path)!r} describes a layer of {name}={value}, and only {size} bytes of "
                    "weights."
                )


def _told(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, KeyError | IndexError | AttributeError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + " ..."
