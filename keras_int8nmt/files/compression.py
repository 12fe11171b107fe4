"""Files that are gzip or zstd by their suffix, in members that stand each for itself."""

from __future__ import annotations

import importlib
import io
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from keras_int8nmt.errors import KerasInt8nmtError

# Bytes that are read of a file, and that are unpacked of them, at once: 16 KiB can become 512 MiB.
_PIECE = 16 * 1024
_MOST_UNPACKED = 1 << 20
# zstd packs 128 KiB, a block, into 4 bytes; so many unpack to no more than 2 MiB.
_ZSTD_PIECE = 64
_GZIP = 16 + zlib.MAX_WBITS


class CompressedFileError(KerasInt8nmtError, ValueError):
    """A compressed file is damaged, or what reads it is not installed."""


class _Unpacker(Protocol):
    """Unpacks one member, a bounded piece at a time.

    Attributes:
        hungry: Whether it needs more of the file to go on.
        eof: Whether that was the end of the member.
        unused_data: What it was given of the file after that.
    """

    @property
    def hungry(self) -> bool: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def step(self, packed: bytes) -> bytes:
        """More of the content, maybe nothing; `packed` is empty where it is not hungry."""


class _Codec(NamedTuple):
    """How to unpack a member, piece by piece, and how to make one."""

    unpacker: Callable[[], _Unpacker]
    pack: Callable[[bytes], bytes]
    errors: tuple[type[Exception], ...]


def open_input(path: str | os.PathLike[str]) -> tuple[BinaryIO, BinaryIO]:
    """Opens a file to read what is in it.

    Returns:
        `(content, raw)`: what to read, unpacked where the suffix says .gz or .zst, and the file
        itself, whose `tell()` says how far that has got. Closing the first closes both.

    Raises:
        CompressedFileError: when there is nothing to unpack it with.
        OSError: when it can't be opened.
    """
    codec = _codec(Path(path).suffix)
    raw = open(path, "rb", buffering=0 if codec else -1)  # noqa: SIM115
    if codec is None:
        return raw, raw
    members = _Members(raw, codec, str(path))
    return io.BufferedReader(members, io.DEFAULT_BUFFER_SIZE), raw


def packer(path: str | os.PathLike[str] | None) -> Callable[[bytes], bytes]:
    """What makes bytes ready for a file: a gzip member, a zstd frame, or the bytes themselves.

    One packed piece after the other is a valid file, at whichever of them it ends. Equal bytes
    give equal pieces.

    Raises:
        CompressedFileError: when there is nothing to pack with.
    """
    codec = None if path is None else _codec(Path(path).suffix)
    return bytes if codec is None else codec.pack


class _Members(io.RawIOBase):
    """The content of one packed member after the other."""

    def __init__(self, raw: BinaryIO, codec: _Codec, name: str) -> None:
        self._raw, self._codec, self._name = raw, codec, name
        self._unpacker: _Unpacker | None = None  # None: between two members
        self._rest = b""  # read and not yet unpacked
        self._content = memoryview(b"")  # unpacked and not yet given

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._content:
            content = self._unpack()
            if content is None:
                return 0
            self._content = memoryview(content)
        count = min(len(buffer), len(self._content))
        buffer[:count] = self._content[:count]
        self._content = self._content[count:]
        return count

    def _unpack(self) -> bytes | None:
        """More of the content, maybe nothing yet; None at the end."""
        piece = b""
        if self._unpacker is None or self._unpacker.hungry:
            piece, self._rest = self._rest or self._raw.read(_PIECE), b""
            if not piece:
                if self._unpacker is not None:
                    raise CompressedFileError(f"{self._name} ends in the middle: it is truncated.")
                return None
        if self._unpacker is None:
            # Zeros between members are padding, which gzip passes over too.
            piece = piece.lstrip(b"\0")
            if not piece:
                return b""
            self._unpacker = self._codec.unpacker()
        try:
            content = self._unpacker.step(piece)
        except self._codec.errors as error:
            raise CompressedFileError(f"{self._name} is damaged: {error}") from error
        if self._unpacker.eof:
            self._rest = self._unpacker.unused_data
            self._unpacker = None
        return content

    def close(self) -> None:
        self._raw.close()
        super().close()


def _codec(suffix: str) -> _Codec | None:
    make = {".gz": _gzip, ".zst": _zstd}.get(suffix.lower())
    return None if make is None else make()


def _gzip() -> _Codec:
    def pack(content: bytes) -> bytes:
        # Not gzip.compress: that of some releases writes the time.
        packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        return packer.compress(content) + packer.flush()

    return _Codec(_GzipMember, pack, (zlib.error,))


class _GzipMember:
    """A member of a .gz file."""

    def __init__(self) -> None:
        self._of_zlib = zlib.decompressobj(_GZIP)

    @property
    def hungry(self) -> bool:
        return not self._of_zlib.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._of_zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._of_zlib.unused_data

    def step(self, packed: bytes) -> bytes:
        packed = packed or self._of_zlib.unconsumed_tail
        return self._of_zlib.decompress(packed, _MOST_UNPACKED)


def _zstd() -> _Codec:
    if sys.version_info >= (3, 14):
        # By name: type checkers for older releases don't know it.
        module: Any = importlib.import_module("compression.zstd")
        return _Codec(
            lambda: _Bounded(module.ZstdDecompressor()), module.compress, (module.ZstdError,)
        )
    try:
        module = importlib.import_module("zstandard")
    except ImportError as error:
        raise CompressedFileError(
            "Files that end with .zst need Python 3.14 or `pip install keras-int8nmt[zstd]`."
        ) from error
    return _Codec(
        lambda: _ZstdFrame(module),
        lambda content: module.ZstdCompressor().compress(content),
        (module.ZstdError,),
    )


class _ZstdFrame:
    """A frame of a .zst file, unpacked by the package zstandard."""

    def __init__(self, module: Any) -> None:
        self._of_zstd = module.ZstdDecompressor().decompressobj()
        self._waiting = b""

    @property
    def hungry(self) -> bool:
        return not self._waiting

    @property
    def eof(self) -> bool:
        return self._of_zstd.eof

    @property
    def unused_data(self) -> bytes:
        return self._of_zstd.unused_data + self._waiting

    def step(self, packed: bytes) -> bytes:
        packed = packed or self._waiting
        # It gives all that it can at once, so it is given little.
        pieces: list[bytes] = []
        size = at = 0
        while at < len(packed) and size < _MOST_UNPACKED and not self.eof:
            pieces.append(self._of_zstd.decompress(packed[at : at + _ZSTD_PIECE]))
            size, at = size + len(pieces[-1]), at + _ZSTD_PIECE
        self._waiting = packed[at:]
        return b"".join(pieces)


class _Bounded:
    """A member that a decompressor of Python's own unpacks: it can be told how much to give."""

    def __init__(self, decompressor: Any) -> None:
        self._decompressor = decompressor

    @property
    def hungry(self) -> bool:
        return self._decompressor.needs_input

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def step(self, packed: bytes) -> bytes:
        return self._decompressor.decompress(packed, _MOST_UNPACKED)
