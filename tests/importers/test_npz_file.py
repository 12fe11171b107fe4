""".npz files and the zip archives around them: the same arrays, and no harm of strangers' files."""

from __future__ import annotations

import os
import random
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from helpers.mutations import bits, cut, runs

from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.npz_file import read_npz
from keras_int8nmt.importers.option_lines import OptionLines
from keras_int8nmt.importers.weights_file import WeightsFile
from keras_int8nmt.importers.zip_archive import deflated_members, member_pieces
from keras_int8nmt.importers.zip_unpacking import read_unpacked, unpack

ARRAYS = {
    "Wemb": np.arange(28, dtype="f4").reshape(7, 4),
    "half": np.arange(6, dtype="f2").reshape(2, 3),
    "double": np.float64(0.1),
    "columns": np.asfortranarray(np.arange(15, dtype="f4").reshape(5, 3)),
    "long": np.arange(700_000, dtype="f4"),
    "nothing": np.zeros((0, 3), "f4"),
}
TEXT = b"type: transformer\n\0"


def write(path, arrays=ARRAYS, compressed=False):
    save = np.savez_compressed if compressed else np.savez
    save(path, **arrays, **{"special:model.yml": np.frombuffer(TEXT, np.int8)})
    return path


def take_all(path):
    found = read_npz(path, MarianFormatError, 1000)
    return found.texts, {name: entry.read() for name, entry in found.entries.items()}


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_numpys(compressed, tmp_path):
    texts, found = take_all(write(tmp_path / "a.npz", compressed=compressed))
    assert texts == {"special:model.yml": TEXT}
    assert found.keys() == ARRAYS.keys()
    for name, got in found.items():
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        assert got.flags.aligned
        np.testing.assert_array_equal(got, ARRAYS[name].astype("f4"), strict=True)


def npy(header, content=b"", version=1, magic=b"\x93NUMPY"):
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return magic + bytes([version, 0]) + length + header.encode("latin-1") + content


def write_members(path, contents, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def header(descr="<f4", order="False", shape="(2,)"):
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"


FOUR = struct.pack("<2f", 1, 2)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_headers_of_all_versions_are_read(version, tmp_path):
    path = write_members(tmp_path / "a.npz", {"a.npy": npy(header(), FOUR, version)})
    assert take_all(path)[1]["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no array"),
        (b"\x93NUMPY\1\0", "no array"),
        (npy(header(), FOUR, magic=b"\x93NUMPX"), "no array"),
        (npy(header(), FOUR, version=4), "no array"),
        (npy(header(descr="|O"), FOUR), "no array"),
        (npy(header(descr="<i4"), FOUR), "a.npz.*<i4"),
        (npy(header(descr=">f4"), FOUR), ">f4"),
        (npy(header(descr="<c8", shape="(1,)"), FOUR), "<c8"),
        (npy(header(shape="(3,)"), FOUR), "'a' of shape"),
        (npy(header(shape="(1,)"), FOUR), "'a' of shape"),
        (npy(header(shape="(-2,)"), FOUR), "no array"),
        (npy(header(shape="(2, 999999999999999999)"), FOUR), "no possible shape"),
        (npy(header(shape="(" + ", ".join("2" * 20) + ")"), FOUR), "no possible shape"),
        (npy(header(shape="(" + "1" * 3000 + "x)"), FOUR), "no array"),
        (npy(header(shape="(2" + " " * 3900 + "x)"), FOUR), "no array"),
        (npy(header(order="__import__('os')"), FOUR), "no array"),
        (npy(header() + " " * 5000, FOUR), "no array"),
        (npy("cos\nsystem\n(S'x'\ntR.", FOUR), "no array"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_is_no_array_is_told(content, message, method, tmp_path):
    path = write_members(tmp_path / "a.npz", {"a.npy": content}, method)
    started = time.monotonic()
    with pytest.raises(MarianFormatError, match=message) as caught:
        take_all(path)
    assert "a.npz" in str(caught.value)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("name", ["../a.npy", "/a.npy", "a\\b.npy", "a//b.npy", "a\nb.npy"])
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, npy(header(), FOUR))
    with pytest.raises(MarianFormatError, match=r"a\.npz"):
        take_all(path)


def test_a_member_that_is_no_array_is_named(tmp_path):
    with pytest.raises(MarianFormatError, match=r"a\.npz.*'a\.txt'"):
        take_all(write_members(tmp_path / "a.npz", {"a.txt": b""}))
    big = npy(header(descr="|i1", shape="(2000,)"), bytes(2000))
    path = write_members(tmp_path / "a.npz", {"special:model.yml.npy": big})
    with pytest.raises(MarianFormatError, match=r"a\.npz.*bytes"):
        take_all(path)


def test_a_bomb_is_not_unpacked(tmp_path):
    zeros = npy(header(shape=f"({40 << 20},)"), bytes(160 << 20))
    path = write_members(tmp_path / "a.npz", {"a.npy": zeros}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(MarianFormatError, match=r"a\.npz.*at most 20 times"):
        take_all(path)


def lying(path, content, *, length=None, packed=None):
    """An archive of one deflated member of which its directory says otherwise."""
    squeezed = zlib.compressobj(wbits=-15)
    data = squeezed.compress(content) + squeezed.flush() if packed is None else packed
    size = len(content) if length is None else length
    numbers = (zlib.crc32(content), len(data), size)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, *numbers, 1, 0) + b"a"
    central = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, *numbers, 1, 0, 0, 0, 0, 0, 0
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 47, len(local) + len(data), 0)
    path.write_bytes(local + data + central + b"a" + end)
    return WeightsFile(path, MarianFormatError)


def test_a_member_is_no_more_and_no_less_than_its_directory_says(tmp_path):
    # What is left when all of the file is read may be much: zeros are a bit for 258 of them.
    for more in (3000, 1, 0):
        content = bytes((3 << 20) + more)
        whole = lying(tmp_path / "a.zip", content)
        assert read_unpacked(whole, "a", deflated_members(whole)["a"], 4 << 20) == content
    for more in ({"length": 10}, {"length": len(content) - 1}, {"length": len(content) + 1}):
        file = lying(tmp_path / "b.zip", content, **more)
        member = deflated_members(file)["a"]
        seen = []
        with pytest.raises(MarianFormatError, match=r"b\.zip"):
            seen.extend(len(piece) for piece in member_pieces(file, member))
        assert sum(seen) <= member.length + (1 << 20)
    for packed in (b"", b"\xff" * 9, b"\3\0more", zlib.compress(b"")):
        file = lying(tmp_path / "b.zip", b"x", packed=packed)
        with pytest.raises(MarianFormatError, match=r"b\.zip"):
            list(member_pieces(file, deflated_members(file)["a"]))


def test_a_member_is_unpacked_into_a_new_file_alone(tmp_path):
    file = lying(tmp_path / "a.zip", b"hello")
    member = deflated_members(file)["a"]
    unpack(file, "a", member, tmp_path / "a", 5)
    assert (tmp_path / "a").read_bytes() == b"hello"
    with pytest.raises(MarianFormatError, match="can't be unpacked"):
        unpack(file, "a", member, tmp_path / "a", 5)
    with pytest.raises(MarianFormatError, match="at most 4"):
        unpack(file, "a", member, tmp_path / "b", 4)
    (tmp_path / "c").symlink_to(tmp_path / "d")
    with pytest.raises(MarianFormatError, match="can't be unpacked"):
        unpack(file, "a", member, tmp_path / "c", 5)
    assert not (tmp_path / "d").exists()


def try_damaged(tmp_path, tries, seed):
    small = {name: value for name, value in ARRAYS.items() if name != "long"}
    whole = [
        write(tmp_path / "a.npz", small, compressed=compressed).read_bytes()
        for compressed in (False, True)
    ]
    rng = random.Random(seed)
    path, told = tmp_path / "a.npz", 0
    for i in range(tries):
        path.write_bytes(whole[i % 2])
        rng.choice((bits, runs, cut))(path, rng)
        started = time.monotonic()
        try:
            texts, found = take_all(path)
            # Whatever is read is whole, under whichever names.
            values = [value.tobytes() for value in found.values()]
            assert all(text == TEXT for text in texts.values())
            known = {np.ascontiguousarray(a.astype("f4")).tobytes() for a in small.values()}
            assert all(v in known for v in values)
        except MarianFormatError as error:
            assert "a.npz" in str(error)  # noqa: PT017
            told += 1
        assert time.monotonic() - started < 10
    return told


def test_a_damaged_npz_is_told_or_whole(tmp_path):
    assert try_damaged(tmp_path, 300, 1) > 200


@pytest.mark.slow
def test_ten_thousand_damaged_npz_are_told_or_whole(tmp_path):
    tries = int(os.environ.get("KERAS_INT8NMT_FUZZ", "10000"))
    assert try_damaged(tmp_path, tries, 2) > tries // 2


def options(text):
    return OptionLines(text.encode(), "decoder.yml", MarianFormatError)


def test_options_are_what_marian_writes():
    read = options(
        '# made by Marian\n---\na: 1\nb: ""\nc:\n  - x\n  - "y z"\nd:\n  []\ne: [1, 2]\n'
        "f: true # yes\ng:\n- p\nh: 'it''s # here'\ni: ~\nj: 1.5e-1\nk:\n  inner: 3\n"
    )
    assert (read.whole("a"), read.text("b"), read.items("c")) == (1, "", ["x", "y z"])
    assert (read.items("d"), read.items("e"), read.flag("f")) == ([], ["1", "2"], True)
    assert (read.items("g"), read.text("h"), read.items("i")) == (["p"], "it's # here", [])
    assert (read.number("j"), read.items("k")) == (0.15, ["inner: 3"])
    assert (read.text("none", "x"), read.flag("none", False), read.whole("none", 4)) == (
        "x",
        False,
        4,
    )
    assert "none" not in read
    assert next(iter(read)) == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "line 1"),
        ("a: 1\na: 2", "second a"),
        ("  - x", "line 1"),
        ("a: 'x", "does not end"),
        ("\0: 1", "line 1"),
    ],
)
def test_what_are_no_options_is_told_by_its_line(text, message):
    with pytest.raises(MarianFormatError, match=rf"decoder\.yml.*{message}"):
        options(text)


@pytest.mark.parametrize(
    ("call", "value"),
    [("whole", "x"), ("whole", "-1"), ("whole", "1.0"), ("whole", "9" * 5000), ("flag", "maybe"),
     ("number", "nan"), ("number", "1" * 5000), ("text", "[1, 2]"), ("whole", "")],
)  # fmt: skip
def test_what_an_option_must_be_is_told(call, value):
    with pytest.raises(MarianFormatError, match=r"decoder\.yml has a: "):
        getattr(options(f"a: {value}"), call)("a")
    with pytest.raises(MarianFormatError, match="has no option b"):
        getattr(options("a: 1"), call)("b")


def test_options_in_another_encoding_are_told():
    with pytest.raises(MarianFormatError, match=r"decoder\.yml is no UTF-8"):
        OptionLines(b"a: \xff", "decoder.yml", MarianFormatError)
