"""Damaged CTranslate2 files and packages: an error that names the file, or finite tensors."""

from __future__ import annotations

import os
import random
import shutil
import struct
import time

import numpy as np
import pytest
from helpers.ct2_files import model_bin
from helpers.mutations import bits, cut, runs, value

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.ct2_facts import describe
from keras_int8nmt.importers.ct2_file import CTranslate2File
from keras_int8nmt.importers.ct2_settings import open_model
from keras_int8nmt.importers.ct2_tokenizer import open_tokenizer, tokenizer_of
from keras_int8nmt.importers.errors import CTranslate2FormatError
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.storage.recognition import recognise

DIM, FFN, WORDS = 4, 6, 5
FUZZ = int(os.environ.get("KERAS_INT8NMT_FUZZ", "200"))


def variables():
    """Of a model of one layer a side, its weights int8."""
    rng = np.random.default_rng(0)
    found = {}

    def linear(place, rows, columns):
        found[f"{place}/bias"] = rng.normal(0, 1, rows).astype("f4")
        found[f"{place}/weight"] = rng.integers(-127, 128, (rows, columns)).astype("i1")
        found[f"{place}/weight_scale"] = np.full(rows, 127, "f4")

    def norm(place):
        found[f"{place}/layer_norm/beta"] = np.zeros(DIM, "f4")
        found[f"{place}/layer_norm/gamma"] = np.ones(DIM, "f4")

    for stack, attentions in (
        ("decoder", {"attention": (1, 2, 1), "self_attention": (3, 1)}),
        ("encoder", {"self_attention": (3, 1)}),
    ):
        found[f"{stack}/activation"] = np.int8(0)
        found[f"{stack}/embeddings/weight"] = rng.normal(0, 1, (WORDS, DIM)).astype("f2")
        for attention, groups in attentions.items():
            place = f"{stack}/layer_0/{attention}"
            norm(place)
            for i, count in enumerate(groups):
                linear(f"{place}/linear_{i}", count * DIM, DIM)
        norm(f"{stack}/layer_0/ffn")
        linear(f"{stack}/layer_0/ffn/linear_0", FFN, DIM)
        linear(f"{stack}/layer_0/ffn/linear_1", DIM, FFN)
        found[f"{stack}/num_heads"] = np.int16(2)
        found[f"{stack}/pre_norm"] = np.int8(1)
        found[f"{stack}/scale_embeddings"] = np.int8(1)
        norm(stack)
    linear("decoder/projection", WORDS, DIM)
    del found["decoder/projection/weight"], found["decoder/projection/weight_scale"]
    return found


ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").write_bytes(model_bin(variables(), aliases=ALIASES))
    (folder / "shared_vocabulary.txt").write_bytes(b"<blank>\n<s>\n</s>\na\n<unk>\n")
    (folder / "config.json").write_text('{"add_source_eos": true, "layer_norm_epsilon": 1e-05}')
    return folder


def take_all(model):
    """Reads every tensor; their values are finite, or an error names the file."""
    for name in list(model.tensors._left):
        assert np.isfinite(model.tensors.take(name, model.tensors.shape(name))).all()


def test_the_whole_folder_is_read(folder):
    model = open_model(folder)
    assert model.settings["tie_embeddings"] == "output"
    weights = [n for n, v in variables().items() if v.ndim and not n.endswith("_scale")]
    assert len(model.tensors) == len([*weights, *ALIASES])
    take_all(model)
    assert open_tokenizer(folder).encode("aab") == [3, 3, 4, 2]
    assert not {"notes", "problems"} & describe(folder).keys()
    (folder / "vmap.txt").write_bytes(b"")
    assert "vmap.txt" in describe(folder)["notes"][0]


def test_sources_of_a_model_of_transformers_end_where_sentencepiece_makes_the_pieces(folder):
    (folder / "shared_vocabulary.txt").write_text("<pad>\n</s>\n<unk>\n\u2581Tom\n.\n")
    (folder / "config.json").write_text('{"decoder_start_token": "<pad>"}')
    # Whoever gives the pieces gives the end, as there.
    by_hand = open_tokenizer(folder)
    assert by_hand.encode("\u2581Tom . </s>") == [3, 4, 1]
    assert not by_hand.source_eos
    for name in ("source.spm", "target.spm"):
        shutil.copy(FOLDER / name, folder)
    tokenizer = open_tokenizer(folder)
    assert tokenizer.encode("Tom.") == tokenizer.encode_target("Tom.") == [3, 4, 1]
    assert (tokenizer.source_eos, tokenizer.pad_id) == (True, 0)
    assert tokenizer.decode([0, 3, 4, 1]) == "Tom."
    assert set(tokenizer.files) == {"pieces.json", "pieces.spm", "pieces.target.spm"}


@pytest.mark.slow
def test_ten_thousand_damaged_folders_give_errors_or_finite_tensors(folder):
    tries = int(os.environ.get("KERAS_INT8NMT_FUZZ", "10000"))
    assert mutate(folder, tries, seed=1) > tries // 2


def test_damaged_folders_give_errors_or_finite_tensors(folder):
    assert mutate(folder, FUZZ, seed=FUZZ) > FUZZ // 4


def mutate(folder, tries, seed):
    """Opens so many damaged folders; returns how many were refused."""
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    rng = random.Random(seed)
    refused = 0
    for _ in range(tries):
        for path, content in whole.items():
            path.write_bytes(content)
        # The weights as often as all the rest.
        path = rng.choice((folder / "model.bin", rng.choice(sorted(whole))))
        rng.choice((bits, bits, runs, cut, value))(path, rng)
        begin = time.monotonic()
        try:
            model = open_model(folder)
            take_all(model)
            tokenizer_of(folder, model, folder).encode("a b")
        except KerasInt8nmtError as error:
            message, refused = str(error), refused + 1
            if not any(name in message for name in (str(folder), *(p.name for p in whole))):
                raise
        assert time.monotonic() - begin < 10
    return refused


WHOLE = model_bin(variables(), aliases=ALIASES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends in the middle of an entry, at byte 0"),
        (struct.pack("<I", 1) + WHOLE[4:], "version 1 of .*; versions 2 to 6 are read"),
        (struct.pack("<I", 7) + WHOLE[4:], "version 7 of"),
        (WHOLE + b"\0", "1 bytes follow its last entry"),
        (WHOLE[:-3], "ends in the middle of an entry"),
        (WHOLE[: len(WHOLE) // 2], "ends (in the middle|at byte)"),
        (model_bin({"x": np.zeros(3, "f4")})[:-8] + b"\0" * 4, "ends at byte|in the middle"),
        (struct.pack("<IH", 6, 5000) + b"x" * 6000, "a name of 5000 bytes is at byte 6"),
        (struct.pack("<IH", 6, 3) + b"ab\1" + WHOLE[10:], "the name at byte 9 is none"),
        (model_bin({}, aliases={"a": "b"}), "'a' is 'b', which is not there"),
        (model_bin({"a": np.int8(1)}, aliases={"a": "a"}), "it has 'a' twice"),
        (WHOLE[:26] + struct.pack("<I", 1 << 31) + WHOLE[30:], "tells of 2147483648 variables"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_told_with_its_path(content, message, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(CTranslate2FormatError, match=message) as caught:
        CTranslate2File(path, CTranslate2FormatError)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (struct.pack("<B2IBI", 2, 2, 2, 0, 15), r"of shape \(2, 2\) and float32 has 15 bytes"),
        (struct.pack("<B2IBI", 2, 1 << 31, 1 << 31, 1, 4), "no possible shape|has 4 bytes"),
        (struct.pack("<B9IBI", 9, *[1] * 9, 1, 1), "no possible shape"),
        (struct.pack("<BIBI", 1, 4, 9, 4), "is of an unknown type, 9"),
        (struct.pack("<BIBI", 1, 1 << 30, 0, 0), "has 0 bytes"),
    ],
)
def test_an_impossible_variable_is_named(entry, message, tmp_path):
    head = struct.pack("<IH", 6, 2) + b"x\0" + struct.pack("<IIH", 7, 1, 5) + b"a/xy\0"
    path = tmp_path / "model.bin"
    path.write_bytes(head + entry + b"\0" * 20)
    with pytest.raises(CTranslate2FormatError, match=message) as caught:
        CTranslate2File(path, CTranslate2FormatError)
    assert "'a/xy'" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder/layer_0/ffn/linear_0/weight_scale": np.zeros(FFN, "f4")}, "NaN or infinite"),
        ({"encoder/layer_0/ffn/linear_0/weight_scale": np.zeros(3, "f4")}, "6 floats, or one"),
        ({"encoder/layer_0/ffn/linear_0/weight_scale": None}, "int8 and has no scale"),
        ({"encoder/layer_0/ffn/linear_0/bias": np.zeros(FFN, "i4")}, "is int32"),
        ({"encoder/num_heads": np.zeros(2, "i2")}, "must be one number"),
        ({"encoder/num_heads": np.int16(-1)}, "-1 heads"),
        ({"decoder/scale_embeddings": np.float32("nan")}, "is nan"),
    ],
)
def test_impossible_values_are_named(changed, message, folder):
    found = variables() | changed
    content = model_bin({n: v for n, v in found.items() if v is not None}, aliases=ALIASES)
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(CTranslate2FormatError, match=message):
        take_all(open_model(folder))


@pytest.mark.parametrize("name", ["model.bin", "config.json", "shared_vocabulary.txt"])
def test_a_link_out_of_the_folder_is_not_followed(name, folder, tmp_path):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(CTranslate2FormatError, match=f"{name}.* leads out of its folder"):
        open_model(folder)


def test_files_of_other_kinds_do_not_wait_or_fill_the_memory(folder):
    for name in ("config.json", "shared_vocabulary.txt"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(CTranslate2FormatError, match="no regular file"):
            open_model(folder)
        (folder / name).unlink()
        with open(folder / name, "wb") as file:
            file.truncate(1 << 30)
        with pytest.raises(CTranslate2FormatError, match="at most"):
            open_model(folder)
        (folder / name).unlink()
        (folder / name).write_bytes(b"{}")
    assert recognise(folder).name == "CTranslate2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\n", "no UTF-8"),
        (b"<s>\n</s>\nc\nd\ne\nf\n", "has 7 tokens, and model.bin has embeddings of 5"),
        (b"a\n<unk>\n", "no token '</s>'"),
    ],
)
def test_a_vocabulary_that_is_none_is_named(content, message, folder):
    (folder / "shared_vocabulary.txt").write_bytes(content)
    with pytest.raises(CTranslate2FormatError, match=message) as caught:
        open_model(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("content", [b"{}", b'["a", 1]', b"[", b'["\\ud800"]', b"[" * 1000])
def test_a_json_vocabulary_that_is_none_is_named(content, folder):
    (folder / "shared_vocabulary.json").write_bytes(content)
    with pytest.raises(CTranslate2FormatError, match=r"shared_vocabulary\.json"):
        open_model(folder)


def test_several_models_of_pieces_are_told(folder):
    for name in ("en.spm", "de.spm"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(KerasInt8nmtError, match=r"de\.spm, en\.spm; which of them"):
        open_tokenizer(folder)
    (folder / "de.spm").unlink()
    with pytest.raises(KerasInt8nmtError, match="is not a SentencePiece model"):
        open_tokenizer(folder)
