"""Members of a zip archive, unpacked: no more of them than anybody packs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from keras_int8nmt.importers.weights_file import WeightsFile, short
from keras_int8nmt.importers.zip_archive import Member, member_pieces

# Floats deflate by a tenth, vocabularies to a quarter: what says more is there to fill a disk.
_MOST_RATIO, _AT_ANY_RATE = 20, 64 << 20
# Likewise of one member, which is a package's own.
_MEMBER_AT_ANY_RATE = 20 << 20


def check_unpacked(file: WeightsFile, members: Iterable[Member]) -> None:
    """Raises the file's error where members are deflated to much less than is ever done."""
    size = sum(member.length for member in members if member.method)
    if size > _AT_ANY_RATE + _MOST_RATIO * file.size:
        raise file.refused(
            f"has {file.size} bytes and says that they are {size}; at most {_MOST_RATIO} times as "
            "many are unpacked"
        )


def read_unpacked(file: WeightsFile, name: str, member: Member, most: int) -> bytearray:
    """The bytes of a member of so many bytes at most."""
    if member.length > most:
        raise file.damaged(f"{short(name)} has {member.length} bytes; at most {most} are read")
    content = bytearray()
    for piece in member_pieces(file, member):
        content += piece
    return content


def unpack(file: WeightsFile, name: str, member: Member, path: Path, most: int) -> None:
    """Writes a member of so many bytes at most into a new file."""
    most = min(most, _MEMBER_AT_ANY_RATE + _MOST_RATIO * member.packed)
    if member.length > most:
        raise file.refused(
            f"has {short(name)} of {member.length} bytes, packed into {member.packed}; at most "
            f"{most} are unpacked"
        )
    try:
        with path.open("xb") as target:
            for piece in member_pieces(file, member):
                target.write(piece)
    except OSError as cause:
        reason = os.strerror(cause.errno) if cause.errno else cause
        raise file.refused(f"can't be unpacked into {str(path.parent)!r}: {reason}") from cause
