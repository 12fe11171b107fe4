"""Files that are gzip or zstd by their suffix, in members that stand each for itself."""

from __future__ import annotations

import importlib
import io
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from keras_int8nmt.errors import KerasInt8nmtError

# Compressed bytes that are unpacked at once: a bound of the memory that a hostile file can take.
_PIECE = 16 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class CompressedFileError(KerasInt8nmtError, ValueError):
    """A compressed file is damaged, or what reads it is not installed."""


class _Codec(NamedTuple):
    """How to unpack a member, piece by piece, and how to make one."""

    unpacker: Callable[[], Any]  # has `decompress(data)`, `eof` and `unused_data`
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
        self._unpacker: Any = None  # None: between two members
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
        piece = self._rest or self._raw.read(_PIECE)
        self._rest = b""
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
            content = self._unpacker.decompress(piece)
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

    return _Codec(lambda: zlib.decompressobj(_GZIP), pack, (zlib.error,))


def _zstd() -> _Codec:
    if sys.version_info >= (3, 14):
        # By name: type checkers for older releases don't know it.
        module: Any = importlib.import_module("compression.zstd")
        return _Codec(module.ZstdDecompressor, module.compress, (module.ZstdError,))
    try:
        module = importlib.import_module("zstandard")
    except ImportError as error:
        raise CompressedFileError(
            "Files that end with .zst need Python 3.14 or `pip install keras-int8nmt[zstd]`."
        ) from error
    return _Codec(
        lambda: module.ZstdDecompressor().decompressobj(),
        lambda content: module.ZstdCompressor().compress(content),
        (module.ZstdError,),
    )
