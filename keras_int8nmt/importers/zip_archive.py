"""Where the members of a zip archive lie, and their bytes.

Of weights they are stored as they are, and nothing is unpacked, so that no archive is larger than
its file. Who admits compressed ones says how large each may be. Every number is checked against the
file before it is used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from keras_int8nmt.importers.weights_file import WeightsFile, short

_END = struct.Struct("<4s4H2LH")
_END_64_PLACE = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_COMMENT = 1 << 16
# A checkpoint of a hundred layers has 3,000 members.
_MOST_DIRECTORY = 8 << 20
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_PIECE = 1 << 20
_STORED, _DEFLATED = 0, 8
_UNIX, _FOLDER_OF_UNIX, _KIND_OF_UNIX, _FILE_OF_UNIX = 3, 0x4000, 0xF000, 0x8000


class Member(NamedTuple):
    """Where a member's bytes lie, how many there are, and their checksum.

    `packed` is how many of them the file has: less where they are compressed.
    """

    offset: int
    length: int
    crc: int
    packed: int
    method: int = _STORED


def stored_members(file: WeightsFile) -> dict[str, Member]:
    """The members of an archive by their names.

    Raises:
        The file's error: for an archive that is damaged, and for members that are compressed,
            encrypted, there twice, or whose names lead elsewhere.
    """
    return _members(file, (_STORED,))


def deflated_members(file: WeightsFile) -> dict[str, Member]:
    """`stored_members` of an archive whose members may be compressed; folders are left out.

    Raises:
        The file's error: likewise, and for members that are neither files nor folders.
    """
    return _members(file, (_STORED, _DEFLATED))


def _members(file: WeightsFile, methods: tuple[int, ...]) -> dict[str, Member]:
    count, length, offset = _directory(file)
    if length > _MOST_DIRECTORY or count * _CENTRAL.size > length:
        raise file.damaged(f"its directory of {count} members has {length} bytes")
    directory = bytes(file.read(offset, length))
    members: dict[str, Member] = {}
    position = 0
    for _ in range(count):
        fields, name, extra, position = _record(file, directory, position)
        flags, method, crc, packed, size, start = (fields[i] for i in (3, 4, 7, 8, 9, 16))
        if _DEFLATED in methods:
            kind = fields[15] >> 16 & _KIND_OF_UNIX if fields[1] >> 8 == _UNIX else 0
            if name.endswith("/") and kind in (0, _FOLDER_OF_UNIX):
                continue
            if kind not in (0, _FILE_OF_UNIX):
                raise file.refused(f"has a member {short(name)} that is a link or a device")
        size, packed, start = _wide(file, extra, size, packed, start)
        if name in members:
            raise file.damaged(f"it has {short(name)} twice")
        if not _is_plain(name):
            raise file.refused(f"has a member {short(name)}, whose name leads elsewhere")
        if flags & 1 or method not in methods or (method == _STORED and size != packed):
            raise file.refused(f"has {short(name)} compressed or encrypted, which is not read")
        begin = _data(file, name, start, packed, offset, method)
        members[name] = Member(begin, size, crc, packed, method)
    if position != length:
        raise file.damaged("its directory is longer than its members")
    return members


def read_member(file: WeightsFile, member: Member, most: int) -> bytes:
    """The bytes of a member of so many bytes at most, checked."""
    if member.length > most:
        raise file.damaged(f"a member has {member.length} bytes; at most {most} are read")
    return b"".join(member_pieces(file, member))


def check_member(file: WeightsFile, member: Member) -> None:
    """Raises the file's error where a member's bytes are not those of its checksum."""
    for _ in member_pieces(file, member):
        pass


def member_pieces(file: WeightsFile, member: Member) -> Iterator[bytes]:
    """The bytes of a member, a few at a time, never more of them than its directory says.

    Raises:
        The file's error: where they are not those of its checksum. What was given before is not
            the member then.
    """
    crc = count = 0
    for piece in _inflated(file, member) if member.method else _stored(file, member):
        crc, count = zlib.crc32(piece, crc), count + len(piece)
        yield piece
    if crc != member.crc or count != member.length:
        raise _changed(file)


def _stored(file: WeightsFile, member: Member) -> Iterator[bytes]:
    for start in range(0, member.packed, _PIECE):
        yield bytes(file.read(member.offset + start, min(_PIECE, member.packed - start)))


def _inflated(file: WeightsFile, member: Member) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    left = member.length
    try:
        for packed in _stored(file, member):
            # A full piece may not be all of it, though no packed byte is left.
            more = True
            while more and not unpacker.eof:
                most = min(_PIECE, left + 1)
                piece = unpacker.decompress(packed, most)
                packed, left = unpacker.unconsumed_tail, left - len(piece)
                if left < 0:
                    raise file.damaged("a member is larger than its directory says")
                more = bool(packed) or len(piece) == most
                yield piece
    except zlib.error as error:
        raise file.damaged(f"a member can't be unpacked: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise file.damaged("a member's bytes end elsewhere than they should")


def _changed(file: WeightsFile) -> Exception:
    return file.damaged("a member's bytes are not those of its checksum")


def _directory(file: WeightsFile) -> tuple[int, int, int]:
    """Count, length and offset of the central directory."""
    tail = min(file.size, _END.size + _MOST_COMMENT)
    content = bytes(file.read(file.size - tail, tail))
    at = content.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(content):
        raise file.damaged("it is a zip archive without an end")
    _, disk, first, here, count, length, offset, comment = _END.unpack_from(content, at)
    if disk or first or here != count or at + _END.size + comment != len(content):
        raise file.damaged("the end of its archive is damaged")
    end = file.size - tail + at
    place = at - _END_64_PLACE.size
    if place >= 0 and content[place : place + 4] == b"PK\6\7":
        _, _, wide, _ = _END_64_PLACE.unpack_from(content, place)
        told = _END_64.unpack(file.read(wide, _END_64.size))
        if told[0] != b"PK\6\6" or told[4] or told[5] or told[6] != told[7]:
            raise file.damaged("the end of its archive is damaged")
        for narrow, full, wider in (
            (count, _FULL_16, told[7]),
            (length, _FULL_32, told[8]),
            (offset, _FULL_32, told[9]),
        ):
            if narrow not in (full, wider):
                raise file.damaged("the two ends of its archive do not agree")
        count, length, offset, end = told[7], told[8], told[9], wide
    if offset + length != end:
        raise file.damaged("the end of its archive does not follow its directory")
    return count, length, offset


def _record(
    file: WeightsFile, directory: bytes, position: int
) -> tuple[tuple[int, ...], str, bytes, int]:
    if position + _CENTRAL.size > len(directory):
        raise file.damaged("its directory is truncated")
    fields = _CENTRAL.unpack_from(directory, position)
    lengths = fields[10:13]
    begin = position + _CENTRAL.size
    end = begin + sum(lengths)
    if fields[0] != b"PK\1\2" or end > len(directory):
        raise file.damaged("its directory is damaged")
    name = directory[begin : begin + lengths[0]].decode("utf-8", "surrogateescape")
    extra = directory[begin + lengths[0] : begin + lengths[0] + lengths[1]]
    return fields, name, extra, end


def _wide(file: WeightsFile, extra: bytes, *values: int) -> list[int]:
    """The numbers of 32 bits, or those of 64 that stand for them in the field of zip64."""
    wide: list[int] = []
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        content = extra[position + 4 : position + 4 + length]
        if kind == 1:
            wide = list(struct.unpack_from(f"<{len(content) // 8}Q", content))
        position += 4 + length
    found = []
    for value in values:
        if value == _FULL_32:
            if not wide:
                raise file.damaged("its directory lacks a number of 64 bits")
            value = wide.pop(0)
        found.append(value)
    return found


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(parts)


def _data(file: WeightsFile, name: str, start: int, size: int, end: int, method: int) -> int:
    """Where a member's bytes begin, by what is told before them."""
    fields = _LOCAL.unpack(file.read(start, _LOCAL.size))
    told = bytes(file.read(start + _LOCAL.size, fields[9])).decode("utf-8", "surrogateescape")
    offset = start + _LOCAL.size + fields[9] + fields[10]
    if fields[0] != b"PK\3\4" or told != name or fields[2] & 1 or fields[3] != method:
        raise file.damaged(f"{short(name)} lies elsewhere than its directory says")
    if offset + size > end:
        raise file.damaged(f"{short(name)} reaches out of its archive")
    return offset
