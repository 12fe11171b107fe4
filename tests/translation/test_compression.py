"""Packed files are unpacked in bounded pieces, whatever they would become."""

from __future__ import annotations

import bz2
import random
import struct
import tracemalloc
import zlib

import pytest
from helpers.file_runs import SUFFIXES, packed, unpacked

from keras_int8nmt.files import compression
from keras_int8nmt.files.compression import CompressedFileError, open_input

PACKED = [suffix for suffix in SUFFIXES if suffix]
MIB = 1 << 20


def zstd_bomb(blocks):
    """A frame of blocks of 128 KiB that take 4 bytes each."""
    head = struct.pack("<I", 0xFD2FB528) + bytes([0x00, 0x38])
    size = (128 << 10) << 3
    rows = (struct.pack("<I", size | 2 | (i == blocks - 1))[:3] + b"a" for i in range(blocks))
    return head + b"".join(rows)


def gzip_bomb(mebibytes):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(mebibytes)), packer.flush()])


@pytest.mark.parametrize("suffix", PACKED)
def test_a_bomb_takes_no_more_memory_than_a_few_pieces(tmp_path, suffix):
    path, mebibytes = tmp_path / f"bomb{suffix}", 64
    path.write_bytes(zstd_bomb(8 * mebibytes) if suffix == ".zst" else gzip_bomb(mebibytes))
    assert path.stat().st_size < 80_000
    content, _ = open_input(path)
    total = 0
    tracemalloc.start()
    with content:
        while piece := content.read(MIB):
            total += len(piece)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == mebibytes * MIB
    assert most < 12 * MIB


@pytest.mark.parametrize("suffix", [*PACKED, ".bz2"])
def test_members_of_any_size_are_read_whole(tmp_path, monkeypatch, suffix):
    """The last suffix: by a decompressor with the methods that Python 3.14 has for zstd."""
    if suffix == ".bz2":
        made = compression._Codec(
            lambda: compression._Bounded(bz2.BZ2Decompressor()), bz2.compress, (OSError,)
        )
        monkeypatch.setattr(compression, "_codec", lambda _: made)
    monkeypatch.setattr(compression, "_MOST_UNPACKED", 1000)
    rng = random.Random(1)
    parts = [
        b"",
        bytes(5000),
        rng.randbytes(40_000),
        b"line\n" * 9000,
        b"x",
        *(rng.randbytes(size) for size in (63, 64, 65, 999, 1000, 1001)),
    ]
    pack = compression.packer(f"x{suffix}")
    path = tmp_path / f"parts{suffix}"
    content = b"".join(map(pack, parts))
    path.write_bytes(content)
    assert unpacked(path) == b"".join(parts)
    # Cut anywhere it is never taken for the whole, unless between two members.
    ends = {len(b"".join(map(pack, parts[:n]))) for n in range(len(parts) + 1)}
    for length in rng.sample(range(len(content)), 200):
        path.write_bytes(content[:length])
        if length not in ends:
            with pytest.raises(CompressedFileError, match="truncated"):
                unpacked(path)


@pytest.mark.parametrize("suffix", PACKED)
def test_what_is_damaged_is_named_or_has_no_meaning(tmp_path, suffix):
    whole = b"".join(b"sentence number %d\n" % i for i in range(300))
    path = packed(tmp_path / f"x{suffix}", whole)
    content, rng = path.read_bytes(), random.Random(2)
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            unpacked(path)
        except CompressedFileError as error:
            assert path.name in str(error)  # noqa: PT017
