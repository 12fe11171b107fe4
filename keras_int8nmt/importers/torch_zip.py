"""`torch.save` since PyTorch 1.6: a zip archive of one pickle and a member for each storage."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from keras_int8nmt.importers.tensor_pickle import MOST_PICKLE, read_pickle
from keras_int8nmt.importers.tensors import Entry
from keras_int8nmt.importers.torch_tensors import Place, torch_entries
from keras_int8nmt.importers.weights_file import WeightsFile
from keras_int8nmt.importers.zip_archive import Member, check_member, read_member, stored_members

MAGIC = b"PK\3\4"


def read_torch_zip(path: Path, error: type[Exception]) -> dict[str, Entry]:
    """The tensors of a file by their names; none is read yet.

    Raises:
        The `error`: for a file that is damaged, holds something else than tensors of floats, or a
            pickle that asks for anything else.
    """
    file = WeightsFile(path, error)
    members = stored_members(file)
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise file.refused("is an archive without a data.pkl, none of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    order = members.get(f"{root}byteorder")
    if order is not None and read_member(file, order, 100) != b"little":
        raise file.refused("was not written by a little-endian machine")
    content = read_member(file, members[pickles[0]], MOST_PICKLE)
    value, end = read_pickle(file, content)
    if end != len(content):
        raise file.damaged("its pickle goes on after its end")
    data = f"{root}data/"
    places = {
        name.removeprefix(data): _place(file, member)
        for name, member in members.items()
        if name.startswith(data)
    }
    return torch_entries(file, value, places)


def _place(file: WeightsFile, member: Member) -> Place:
    # Once, whatever number of tensors have it.
    return Place(member.offset, member.length, cache(lambda: check_member(file, member)))
