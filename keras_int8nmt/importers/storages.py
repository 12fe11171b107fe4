"""Where the weights of a Hugging Face folder are: one row a storage; the first one there wins."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt._untrusted import inside, json_object, read_bytes
from keras_int8nmt.importers import hdf5_file, torch_legacy, torch_zip
from keras_int8nmt.importers.safetensors_file import read_safetensors
from keras_int8nmt.importers.tensors import Entry, Tensors
from keras_int8nmt.importers.tf_names import BIAS, pytorch_entries
from keras_int8nmt.importers.weights_file import WeightsFile, short

_MOST_INDEX = 16 << 20
_MOST_SHARDS = 1000
_LFS_POINTER = b"version https://git-lfs"

Reader = Callable[[Path, type[Exception]], dict[str, Entry]]


def _read_torch(path: Path, error: type[Exception]) -> dict[str, Entry]:
    file = WeightsFile(path, error)
    start = bytes(file.read(0, min(file.size, 64)))
    if start.startswith(torch_zip.MAGIC):
        return torch_zip.read_torch_zip(path, error)
    if start.startswith(_LFS_POINTER):
        raise file.refused("is a pointer of Git LFS; the weights themselves were not fetched")
    return torch_legacy.read_torch_legacy(path, error)


def _read_tf(path: Path, error: type[Exception]) -> dict[str, Entry]:
    entries = pytorch_entries(hdf5_file.read_hdf5(path, error), path.name, error)
    table = entries.get("model.shared.weight")
    if BIAS not in entries and table is not None and len(table.shape) == 2:
        # Before `transformers` 4.22 none was saved, and none loaded.
        warnings.warn(
            f"{str(path)!r} has no {BIAS}, as older releases of transformers have saved it: it is "
            "taken as zeros, as they do. Where there is a pytorch_model.bin as well, use that.",
            stacklevel=2,
        )
        count = table.shape[0]
        entries[BIAS] = Entry((1, count), "float32", lambda: np.zeros((1, count), np.float32))
    return entries


def _sharded(read: Reader) -> Reader:
    """Reads the files that an index names, each of which holds the tensors that it says."""

    def read_shards(path: Path, error: type[Exception]) -> dict[str, Entry]:
        index = _index(path, error)
        wanted: dict[str, set[str]] = {}
        for name, file in index.items():
            wanted.setdefault(file, set()).add(name)
        if len(wanted) > _MOST_SHARDS:
            raise error(
                f"{str(path)!r} names {len(wanted)} files; at most {_MOST_SHARDS} are read."
            )
        entries: dict[str, Entry] = {}
        for file, names in wanted.items():
            shard = inside(path.parent, file, error)
            if not shard.is_file():
                raise error(f"{str(path.parent)!r} has no file {short(file)}, as {path.name} says.")
            found = read(shard, error)
            if found.keys() != names:
                other = sorted(found.keys() ^ names)[0]
                raise error(f"{path.name} and {file} do not agree on tensor {short(other)}.")
            entries |= found
        return entries

    return read_shards


def _index(path: Path, error: type[Exception]) -> dict[str, str]:
    content = json_object(path, read_bytes(path, _MOST_INDEX, error), error)
    index: Any = content.get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
        raise error(f'{str(path)!r} must hold a "weight_map" of tensors and files.')
    return index


# In this order: what a release of today writes goes before what it once wrote.
STORAGES: dict[str, Reader] = {
    "model.safetensors": read_safetensors,
    "model.safetensors.index.json": _sharded(read_safetensors),
    "pytorch_model.bin": _read_torch,
    "pytorch_model.bin.index.json": _sharded(_read_torch),
    "tf_model.h5": _read_tf,
}
# Weights of the same repositories, in forms of other programs.
_NOT_READ = ("rust_model.ot", "flax_model.msgpack", "model.onnx")


def storage_of(folder: Path, error: type[Exception]) -> str:
    """The name of the file whose weights are read.

    Raises:
        The `error`: where there is none, naming those that there can be and others that there are.
    """
    for name in STORAGES:
        # A link to nothing too: what it stood for is not what another storage has.
        if os.path.lexists(folder / name):
            return name
    others = [name for name in _NOT_READ if (folder / name).exists()]
    hint = f"; {', '.join(others)} can't be read" if others else ""
    raise error(f"{str(folder)!r} has no weights, none of {', '.join(STORAGES)}{hint}.")


def open_storage(folder: Path, error: type[Exception]) -> Tensors:
    """The tensors of a folder, by the names that PyTorch has for them.

    Raises:
        The `error`: where there are none, or the file is damaged.
    """
    name = storage_of(folder, error)
    entries = STORAGES[name](inside(folder, name, error), error)
    if not entries:
        raise error(f"{str(folder / name)!r} holds no tensors.")
    return Tensors(entries, name, error)
