"""`torch.save` before PyTorch 1.6: a stream of pickles, and the storages' bytes after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_int8nmt.importers.tensor_pickle import MOST_PICKLE, PickledTensor, read_pickle
from keras_int8nmt.importers.tensors import Entry
from keras_int8nmt.importers.torch_tensors import Place, torch_entries
from keras_int8nmt.importers.weights_file import WeightsFile, short

# The pickle of the number that such a file begins with.
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PROTOCOL = 1001
_COUNT_BYTES = 8


def read_torch_legacy(path: Path, error: type[Exception]) -> dict[str, Entry]:
    """The tensors of a file in the legacy stream by their names; none is read yet.

    Raises:
        The `error`: for a file that is damaged, holds something else than tensors of floats, or a
            pickle that asks for anything else.
    """
    file = WeightsFile(path, error)
    content = bytes(file.read(0, min(MOST_PICKLE, file.size)))
    if not content.startswith(MAGIC):
        raise file.refused("is no file of torch.save")
    protocol, position = read_pickle(file, content, len(MAGIC))
    if type(protocol) is not int or protocol != _PROTOCOL:
        raise file.refused(f"has protocol {short(protocol)}; only {_PROTOCOL} is read")
    system, position = read_pickle(file, content, position)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise file.refused("was not written by a little-endian machine")
    value, position = read_pickle(file, content, position)
    keys, position = read_pickle(file, content, position)
    return torch_entries(file, value, _places(file, value, keys, position))


def _places(file: WeightsFile, value: Any, keys: Any, position: int) -> dict[str, Place]:
    tensors = value.values() if type(value) is dict else ()
    storages = {
        each.storage.key: each.storage for each in tensors if isinstance(each, PickledTensor)
    }
    if (
        type(keys) is not list
        or not all(isinstance(key, str) for key in keys)
        or sorted(keys) != sorted(storages)
    ):
        raise file.damaged("its list of storages is not that of its tensors")
    places = {}
    for key in keys:
        count = int.from_bytes(file.read(position, _COUNT_BYTES), "little", signed=True)
        if count != storages[key].elements:
            raise file.damaged(
                f"storage {short(key)} has {count} elements, and its pickle says "
                f"{storages[key].elements}"
            )
        length = count * storages[key].item_bytes
        position += _COUNT_BYTES
        places[key] = Place(position, length)
        position += length
        if position > file.size:
            raise file.damaged(f"it is truncated in storage {short(key)}")
    if position != file.size:
        raise file.damaged(f"it has {file.size - position} bytes more than its storages")
    return places
