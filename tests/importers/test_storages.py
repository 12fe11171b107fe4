"""The storages of Hugging Face folders: the same tensors, and no harm of strangers' files."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import time
import zipfile

import numpy as np
import pytest
from helpers import checkpoints
from helpers.checkpoints import WRITERS, Call, Name, StorageId
from helpers.mutations import bits, cut, runs, value

from keras_int8nmt.importers.marian import MarianFormatError
from keras_int8nmt.importers.storages import open_storage, storage_of

BIN, H5 = "pytorch_model.bin", "tf_model.h5"
LEGACY = "legacy " + BIN
KINDS = {**WRITERS, LEGACY: checkpoints.write_torch_legacy}


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(3)
    shapes = {
        "model.shared.weight": (6, 4),
        "final_logits_bias": (1, 6),
        "model.encoder.embed_positions.weight": (3, 4),
        "model.encoder.layers.0.self_attn.k_proj.weight": (4, 4),
        "model.encoder.layers.0.self_attn_layer_norm.weight": (4,),
        "model.encoder.layers.0.self_attn_layer_norm.bias": (4,),
        "model.decoder.layers.11.fc1.weight": (5, 4),
        "model.decoder.layers.11.fc1.bias": (5,),
    }
    return {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}


def write(kind, folder, tensors, dtype="float32", **more):
    folder.mkdir(exist_ok=True)
    path = folder / kind.removeprefix("legacy ")
    KINDS[kind](path, tensors, dtype, **more)
    return path


def take_all(folder, tensors):
    found = open_storage(folder, MarianFormatError)
    taken = {name: found.take(name, value.shape) for name, value in tensors.items()}
    found.check_all_taken()
    return taken


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_storage_gives_the_same_tensors(kind, dtype, tensors, tmp_path):
    if kind == H5:
        pytest.importorskip("h5py")
        if dtype == "bfloat16":
            dtype = "float64"  # HDF5 has none
    path = write(kind, tmp_path / "model", tensors, dtype)
    assert storage_of(path.parent, MarianFormatError) == path.name
    for name, got in take_all(path.parent, tensors).items():
        want = tensors[name]
        want = want if dtype == "float64" else checkpoints.rounded(want, dtype)
        assert got.dtype == np.float32
        assert np.array_equal(got, want), name


def test_storages_are_taken_in_their_order(tensors, tmp_path):
    pytest.importorskip("h5py")
    for kind in reversed(WRITERS):
        path = write(kind, tmp_path, tensors)
        assert storage_of(tmp_path, MarianFormatError) == path.name


def test_a_folder_without_weights_is_told_what_they_can_be(tmp_path):
    (tmp_path / "rust_model.ot").write_bytes(b"")
    with pytest.raises(
        MarianFormatError, match=r"none of model\.safetensors, .*h5; rust_model\.ot can't be read"
    ):
        open_storage(tmp_path, MarianFormatError)


@pytest.mark.parametrize("kind", [BIN, LEGACY])
def test_names_of_one_storage_are_one_table(kind, tensors, tmp_path):
    shared = {**tensors, "lm_head.weight": tensors["model.shared.weight"]}
    path = write(kind, tmp_path, shared)
    assert np.array_equal(
        take_all(tmp_path, shared)["lm_head.weight"], tensors["model.shared.weight"]
    )
    assert path.stat().st_size < sum(v.nbytes for v in tensors.values()) + 4000


REBUILD = Name("torch._utils", "_rebuild_tensor_v2")


def one_tensor(offset=0, size=(2, 3), stride=(3, 1), elements=6, kind="FloatStorage", key="0"):
    told = StorageId("storage", Name("torch", kind), key, "cpu", elements)
    return {"a": Call(REBUILD, told, offset, size, stride, False, {})}


ROW = np.arange(6, dtype="f4")


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({}, ROW.reshape(2, 3)),
        ({"size": (3, 2), "stride": (1, 3)}, ROW.reshape(2, 3).T),
        ({"offset": 1, "size": (2, 2), "stride": (3, 1)}, [[1, 2], [4, 5]]),
        ({"offset": 5, "size": (), "stride": ()}, 5),
    ],
)
@pytest.mark.parametrize("kind", [BIN, LEGACY])
def test_a_view_has_the_elements_that_its_strides_say(kind, description, expected, tmp_path):
    write(kind, tmp_path, {"a": ROW}, state=one_tensor(**description))
    expected = np.asarray(expected, "f4")
    got = open_storage(tmp_path, MarianFormatError).take("a", expected.shape)
    assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    "description",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**62},
        {"size": (3, 3)},
        {"size": (2, 3), "stride": (4, 1)},
        {"size": (2, 3), "stride": (0, 1)},
        {"size": (2, 3), "stride": (1,)},
        {"size": (2, -3)},
        {"size": (2**40, 2**40)},
        {"size": (10**30,), "stride": (1,)},
        {"size": (0, 3)},
        {"size": [True, 3]},
        {"size": None},
        {"size": (1,) * 20, "stride": (1,) * 20},
        {"stride": (-3, 1)},
        {"elements": 7},
        {"elements": -6},
        {"elements": 2**70},
        {"elements": "6"},
        {"kind": "DoubleStorage"},
        {"kind": "LongStorage"},
        {"kind": "IntStorage"},
        {"key": "1"},
        {"key": "../0"},
        {"key": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [BIN, LEGACY])
def test_a_tensor_that_its_storage_has_not_is_refused(kind, description, tmp_path):
    write(kind, tmp_path, {"a": ROW}, state=one_tensor(**description))
    with pytest.raises(MarianFormatError, match=r"pytorch_model\.bin"):
        open_storage(tmp_path, MarianFormatError)


class Attack:
    """Unpickles as a call of something that harms."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(canary):
    shell = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w').close()"

    def raw(*parts):
        return b"\x80\x02" + b"".join(p if type(p) is bytes else p.encode() for p in parts) + b"."

    text = struct.pack("<I", len(shell)) + shell.encode()
    nested = Call(Name("builtins", "getattr"), Name("os", "path"), "os")
    yield "os.system", pickle.dumps(Attack(os.system, shell), 2)
    yield "os.system, protocol 4", pickle.dumps(Attack(os.system, shell), 4)
    yield "os.system, protocol 0", pickle.dumps(Attack(os.system, shell), 0)
    yield "builtins.eval", pickle.dumps(Attack(eval, code), 2)
    yield "builtins.exec", pickle.dumps({"a": Attack(exec, code)}, 4)
    yield "open", pickle.dumps(Attack(open, str(canary), "w"), 2)
    yield (
        "nested getattr",
        checkpoints.pickled(Call(Call(Name("builtins", "getattr"), nested, "system"), shell)),
    )
    yield "posix.system", raw("cposix\nsystem\nX", text, "\x85R".encode("latin-1"))
    yield "python 2", raw("c__builtin__\neval\nX", text, b"\x85R")
    yield "torch's own", raw("ctorch\nload\nX", text, b"\x85R")
    yield "a dotted name", raw(b"\x8c\x0btorch._utils\x8c\x08_os.path\x93)R")
    yield "an instance", raw(b"(X", text, "ios\nsystem\n")
    yield "an object", raw(b"(cos\nsystem\nX", text, b"o")
    yield "a new object", raw(b"cos\nPathLike\n)\x81")
    yield "a kept name", raw("cos\nsystem\nq\0X", text, b"\x85q\1h\0h\1R")
    yield "a name as an argument", raw(b"ccollections\nOrderedDict\n(cos\nsystem\ntR")
    yield "state of a name", raw(b"ccollections\nOrderedDict\n}X\1\0\0\0xK\1sb")
    yield "state of a class", raw(b"ccollections\nOrderedDict\n)R\x80\x02Nb")
    yield "an extension", raw(b"\x82\1)R")
    yield "a call of a dict", raw(b"})R")
    yield "a call of text", raw(b"X\1\0\0\0x)R")
    yield (
        "a parameter of a name",
        raw(b"ctorch._utils\n_rebuild_parameter\n(ctorch\nFloatStorage\ntR"),
    )
    yield (
        "a storage of a function",
        raw(b"(X\7\0\0\0storagecposix\nsystem\nX\1\0\0\x000X\3\0\0\0cpuK\6tQ"),
    )
    yield "a long name", raw("cos\n", "s" * 100000, "\n)R")
    yield "huge text", b"\x80\x02X\xff\xff\xff\xffabc."
    yield "huge bytes", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc."
    yield "a huge integer", b"\x80\x02\x8b\xff\xff\xff\x7fabc."
    yield "a huge index", b"\x80\x02Nr\xff\xff\xff\xff."
    yield "a missing index", b"\x80\x02j\xff\xff\xff\xff."
    yield "a frame", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff."
    yield "deep tuples", b"\x80\x02)" + b"\x85" * 100_000 + b"."
    yield "a deep key", b"\x80\x02})" + b"\x85" * 100_000 + b"K\1s."
    yield "deep marks", b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."
    yield "deep lists", b"\x80\x02" + b"](" * 50_000 + b"e" * 50_000 + b"."
    yield "a list in itself", b"\x80\x02]q\0h\0a."
    yield "a dict in itself", b"\x80\x02}q\0X\1\0\0\0ah\0s."
    yield "laughter", b"\x80\x02]" + b"q\0(h\0h\0h\0h\0l" * 100_000 + b"."
    yield "twice", raw(b"}(X\1\0\0\0aK\1X\1\0\0\0aK\2u")
    yield "an odd dict", raw(b"}(X\1\0\0\0au")
    yield "nothing", b""
    yield "a stop", b"."
    yield "a pop", b"0."
    yield "a mark", b"(."
    yield "no stop", b"\x80\x02}"


NAMES = [name for name, _ in attacks("")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [BIN, LEGACY])
def test_a_hostile_pickle_is_an_error_and_does_not_run(kind, name, tmp_path):
    canary = tmp_path / "harm"
    state = dict(attacks(canary))[name]
    write(kind, tmp_path / "model", {"a": ROW}, state=state or b"\x80\x02")
    begin = time.monotonic()
    with pytest.raises(MarianFormatError, match=r"pytorch_model\.bin"):
        open_storage(tmp_path / "model", MarianFormatError)
    assert time.monotonic() - begin < 10
    assert not canary.exists()


def test_the_attacks_would_run_elsewhere(tmp_path):
    canary = tmp_path / "harm"
    pickle.loads(dict(attacks(canary))["posix.system"])
    assert canary.exists()


def change_zip(path, change):
    """Writes an archive again after `change(members, archive)`; the first are names and bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        change(members, archive)
        for name, content in members.items():
            archive.writestr(name, content)


def compressed(members, archive):
    archive.writestr("archive/data/9", bytes(10_000_000), zipfile.ZIP_DEFLATED)


def upwards(members, archive):
    members["../archive/data/0"] = b""


def absolute(members, archive):
    members["/etc/passwd"] = b""


def backwards(members, archive):
    members["archive\\data\\0"] = b""


def two_pickles(members, archive):
    members["other/data.pkl"] = members["archive/data.pkl"]


def no_pickle(members, archive):
    del members["archive/data.pkl"]


def big_endian(members, archive):
    members["archive/byteorder"] = b"big"


def short_storage(members, archive):
    members["archive/data/0"] = members["archive/data/0"][:-1]


def no_storage(members, archive):
    del members["archive/data/0"]


@pytest.mark.parametrize(
    "change",
    [
        *(compressed, upwards, absolute, backwards, two_pickles, no_pickle),
        *(big_endian, short_storage, no_storage),
    ],
    ids=lambda change: change.__name__,
)
def test_an_archive_of_another_kind_is_refused(change, tensors, tmp_path):
    change_zip(write(BIN, tmp_path, tensors), change)
    with pytest.raises(MarianFormatError, match=r"pytorch_model\.bin"):
        open_storage(tmp_path, MarianFormatError)


def patch(path, at, content):
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("field", "content"),
    [
        (8, b"\1\0"),  # encrypted
        (10, b"\x08\0"),  # deflated
        (20, b"\xff\xff\xff\xff"),  # packed size of 64 bits, and none is there
        (24, b"\xff\xff\xff\x7f"),  # size
        (42, b"\xff\xff\xff\x7f"),  # offset
        (42, b"\xff\xff\xff\xff"),
        (42, b"\1\0\0\0"),
        (28, b"\xff\xff"),  # length of the name
        (30, b"\xff\xff"),  # of the extra field
    ],
)
def test_an_archive_that_lies_is_refused(field, content, tensors, tmp_path):
    path = write(BIN, tmp_path, tensors)
    patch(path, path.read_bytes().index(b"PK\1\2") + field, content)
    with pytest.raises(MarianFormatError, match=r"pytorch_model\.bin"):
        open_storage(tmp_path, MarianFormatError)


@pytest.mark.parametrize("field", [8, 10, 12, 16, 20])
def test_an_end_that_lies_is_refused(field, tensors, tmp_path):
    path = write(BIN, tmp_path, tensors)
    patch(path, path.read_bytes().index(b"PK\5\6") + field, b"\xff")
    with pytest.raises(MarianFormatError, match=r"pytorch_model\.bin"):
        open_storage(tmp_path, MarianFormatError)


def test_an_archive_with_numbers_of_64_bits_is_read(tensors, tmp_path):
    path = tmp_path / BIN
    with zipfile.ZipFile(path, "w") as archive:
        state = checkpoints.state_dict(tensors, "float32", legacy=False)
        parts = {"data.pkl": checkpoints.pickled(state)}
        parts |= {f"data/{i}": value.tobytes() for i, value in enumerate(tensors.values())}
        for name, content in parts.items():
            with archive.open(f"archive/{name}", "w", force_zip64=True) as member:
                member.write(content)
    # The end in 64 bits, as large archives have it.
    data = path.read_bytes()
    at = data.index(b"PK\5\6")
    count, length, offset = struct.unpack_from("<HLL", data, at + 10)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset)
    place = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(data[:at] + wide + place + end)
    assert np.array_equal(
        take_all(tmp_path, tensors)["final_logits_bias"], tensors["final_logits_bias"]
    )
    patch(path, at + 24, b"\1")  # the count in 64 bits
    with pytest.raises(MarianFormatError, match=r"pytorch_model\.bin"):
        open_storage(tmp_path, MarianFormatError)


def test_a_changed_storage_is_told_by_its_checksum(tensors, tmp_path):
    path = write(BIN, tmp_path, tensors)
    table = tensors["model.shared.weight"].tobytes()
    patch(path, path.read_bytes().index(table) + 3, b"\x3f")
    found = open_storage(tmp_path, MarianFormatError)
    with pytest.raises(MarianFormatError, match="checksum"):
        found.take("model.shared.weight", (6, 4))


@pytest.mark.parametrize("kind", ["fifo", "folder", "dangling"])
def test_what_is_no_file_is_told_and_nothing_else_is_taken_for_it(kind, tensors, tmp_path):
    write(BIN, tmp_path, tensors)
    path = tmp_path / "model.safetensors"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(MarianFormatError, match=r"model\.safetensors"):
        open_storage(tmp_path, MarianFormatError)


def test_a_pointer_of_git_lfs_is_told(tmp_path):
    (tmp_path / BIN).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(MarianFormatError, match="pointer of Git LFS"):
        open_storage(tmp_path, MarianFormatError)


def index_of(folder, **weight_map):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"].update(weight_map)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    "file", ["../model.safetensors", "/etc/passwd", "", ".", "a\0", "nowhere", 3, None, ["x"]]
)
def test_an_index_names_files_of_its_folder(file, tensors, tmp_path):
    write("model.safetensors.index.json", tmp_path, tensors)
    index_of(tmp_path, final_logits_bias=file)
    with pytest.raises(MarianFormatError):
        open_storage(tmp_path, MarianFormatError)


def test_an_index_and_its_files_agree(tensors, tmp_path):
    write("model.safetensors.index.json", tmp_path, tensors)
    index_of(tmp_path, other="model-00001-of-00003.safetensors")
    with pytest.raises(MarianFormatError, match="do not agree on tensor 'other'"):
        open_storage(tmp_path, MarianFormatError)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"weight_map": []}', b"\xff"])
def test_a_damaged_index_is_named(content, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(MarianFormatError, match=r"model\.safetensors\.index\.json"):
        open_storage(tmp_path, MarianFormatError)


@pytest.mark.parametrize("kind", ["model.safetensors", BIN, H5])
def test_a_link_leads_nowhere_but_into_its_folder_or_the_cache(kind, tensors, tmp_path):
    if kind == H5:
        pytest.importorskip("h5py")
    path = write(kind, tmp_path / "elsewhere", tensors)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / path.name).symlink_to(path)
    with pytest.raises(MarianFormatError, match="leads out of its folder"):
        open_storage(folder, MarianFormatError)
    # As the Hugging Face cache lays it.
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    path.rename(blobs / "abcd")
    (snapshot / path.name).symlink_to("../../blobs/abcd")
    assert take_all(snapshot, tensors)


class TestHdf5:
    h5py = pytest.importorskip("h5py")

    @pytest.fixture
    def path(self, tensors, tmp_path):
        return write(H5, tmp_path / "model", tensors)

    @pytest.fixture
    def refused(self, path):
        def refused(match):
            with pytest.raises(MarianFormatError, match=match):
                open_storage(path.parent, MarianFormatError)

        return refused

    def test_an_external_link_is_refused(self, path, refused, tmp_path):
        with self.h5py.File(tmp_path / "other.h5", "w") as other:
            other["x"] = np.ones(3, "f4")
        with self.h5py.File(path, "a") as file:
            file["model/x"] = self.h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        refused("links of another kind")

    def test_a_soft_link_is_refused(self, path, refused):
        with self.h5py.File(path, "a") as file:
            file["model/x"] = self.h5py.SoftLink("/model")
        refused("has a link")

    def test_data_of_other_files_is_refused(self, path, refused, tmp_path):
        (tmp_path / "raw").write_bytes(bytes(12))
        with self.h5py.File(path, "a") as file:
            outside = [(str(tmp_path / "raw"), 0, 12)]
            file.create_dataset("model/x", (3,), "f4", external=outside)
        refused("data in other files")

    def test_a_virtual_dataset_is_refused(self, path, refused, tmp_path):
        layout = self.h5py.VirtualLayout((3,), "f4")
        layout[:] = self.h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3,))
        with self.h5py.File(path, "a") as file:
            file.create_virtual_dataset("model/x", layout)
        refused("not in one piece")

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"compression": "gzip"}, "compressed"),
            ({"chunks": (10,)}, "not in one piece"),
            ({}, "not in one piece, or empty"),
            ({"dtype": ">f4", "data": np.ones(3)}, "of another type"),
            ({"dtype": "i4", "data": np.ones(3)}, "of another type"),
            ({"dtype": "S4", "data": [b"a"] * 3}, "of another type"),
        ],
        ids=str,
    )
    def test_a_dataset_of_another_layout_is_refused(self, settings, match, path, refused):
        settings = {"dtype": "f4", **settings}
        with self.h5py.File(path, "a") as file:
            shape = (3,) if "data" in settings else (1 << 30,)
            file.create_dataset("model/x", shape, **settings)
        refused(match)

    def test_a_group_within_itself_is_refused(self, path, refused):
        with self.h5py.File(path, "a") as file:
            file["model/again"] = file["model"]
        refused("within itself")

    def test_two_names_of_one_dataset_are_refused(self, path, refused):
        with self.h5py.File(path, "a") as file:
            file["model/x"] = np.ones(10_000, "f4")
            for i in range(10):
                file[f"model/again{i}"] = file["model/x"]
        refused("the same bytes")

    def test_newer_layouts_are_told(self, path, refused, tensors):
        with self.h5py.File(path, "w", libver="latest") as file:
            file["x"] = np.ones(3, "f4")
        refused("layout that Keras does not write")

    def test_a_bias_that_was_not_saved_is_zeros_and_told(self, path, tensors):
        with self.h5py.File(path, "a") as file:
            del file["final_logits_bias"]
        with pytest.warns(UserWarning, match="has no final_logits_bias"):
            found = open_storage(path.parent, MarianFormatError)
        assert not found.take("final_logits_bias", (1, 6)).any()

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("model/model.shared/weight:0", "model/model.shared/model.shared/embeddings:0"),
            ("model/model.shared/weight:0", "model/tf_marian_mt_model/model.shared/weight:0"),
            (
                "final_logits_bias/final_logits_bias:0",
                "top_level_model_weights/final_logits_bias:0",
            ),
        ],
    )
    def test_names_of_other_releases_are_known(self, old, new, path, tensors):
        with self.h5py.File(path, "a") as file:
            file.move(old, new)
        take_all(path.parent, tensors)


# A name that was changed may be that of the bias, without which an older file is read.
@pytest.mark.filterwarnings("ignore:.*has no final_logits_bias")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_storage_gives_an_error_or_finite_tensors(kind, tensors, tmp_path):
    tries = int(os.environ.get("KERAS_INT8NMT_FUZZ", "60"))
    assert mutate(kind, tensors, tmp_path, tries, seed=tries) >= tries // 4


def mutate(kind, tensors, folder, tries, seed):
    """Reads so many damaged files of a kind; returns how many were refused."""
    if kind == H5:
        pytest.importorskip("h5py")
    path = write(kind, folder / "model", tensors)
    whole = {each: each.read_bytes() for each in path.parent.iterdir()}
    rng = random.Random(seed)
    refused = 0
    for _ in range(tries):
        for each, content in whole.items():
            each.write_bytes(content)
        how = rng.choice((bits, bits, runs, cut, value))
        how(rng.choice(sorted(whole)), rng)
        begin = time.monotonic()
        try:
            found = open_storage(path.parent, MarianFormatError)
            for name, value_ in tensors.items():
                assert np.isfinite(found.take(name, value_.shape)).all()
            found.check_all_taken()
        except MarianFormatError as error:
            message, refused = str(error), refused + 1
            names = [str(path.parent), *(each.name for each in whole)]
            if not any(name in message for name in names):
                raise
        assert time.monotonic() - begin < 10
    return refused
