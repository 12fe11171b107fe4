"""Packages of Argos Translate: the folder and the archive are one model; hostile archives."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import stat
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.ct2_files import model_bin
from helpers.mutations import bits, cut, runs

from keras_int8nmt import Translator, load_model
from keras_int8nmt.cli.command_line import main
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.argos import describe, load_argos, open_tokenizer, search_defaults
from keras_int8nmt.importers.argos_package import model_folder, package_folder
from keras_int8nmt.importers.ct2_settings import open_model
from keras_int8nmt.importers.errors import CTranslate2FormatError
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.storage.recognition import recognise
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.piece_tokenizer import PieceTokenizer

TOKENS = ["<unk>", "<s>", "</s>", "__de__", "\u2581Tom", "\u2581is", "\u2581here", "."]
METADATA = {
    "package_version": "1.0",
    "argos_version": "1.5",
    "from_code": "en",
    "to_code": "de",
}
DIM = 8
MANY = int(os.environ.get("KERAS_INT8NMT_FUZZ", "10000"))


def weights():
    """Of a model of one layer a side, post-norm."""
    rng = np.random.default_rng(0)
    found = {}

    def linear(place, rows, columns):
        found[f"{place}/bias"] = rng.normal(0, 1, rows).astype("f4")
        found[f"{place}/weight"] = rng.normal(0, 1, (rows, columns)).astype("f4")

    def norm(place):
        found[f"{place}/layer_norm/beta"] = np.zeros(DIM, "f4")
        found[f"{place}/layer_norm/gamma"] = np.ones(DIM, "f4")

    for stack, attentions in (
        ("decoder", {"attention": (1, 2, 1), "self_attention": (3, 1)}),
        ("encoder", {"self_attention": (3, 1)}),
    ):
        found[f"{stack}/embeddings/weight"] = rng.normal(0, 1, (len(TOKENS), DIM)).astype("f4")
        for attention, groups in attentions.items():
            norm(f"{stack}/layer_0/{attention}")
            for i, count in enumerate(groups):
                linear(f"{stack}/layer_0/{attention}/linear_{i}", count * DIM, DIM)
        norm(f"{stack}/layer_0/ffn")
        linear(f"{stack}/layer_0/ffn/linear_0", 2 * DIM, DIM)
        linear(f"{stack}/layer_0/ffn/linear_1", DIM, 2 * DIM)
        found[f"{stack}/num_heads"], found[f"{stack}/pre_norm"] = np.int16(2), np.int8(0)
    linear("decoder/projection", len(TOKENS), DIM)
    return found


def write_folder(folder, **metadata):
    (folder / "model").mkdir(parents=True)
    (folder / "stanza").mkdir()
    (folder / "stanza" / "en.pt").write_bytes(b"not read")
    (folder / "metadata.json").write_text(json.dumps(METADATA | metadata))
    (folder / "README.md").write_text("# A package")
    shutil.copy(FOLDER / "source.spm", folder / "sentencepiece.model")
    (folder / "model" / "model.bin").write_bytes(model_bin(weights()))
    (folder / "model" / "config.json").write_text('{"add_source_eos": false}')
    (folder / "model" / "shared_vocabulary.json").write_text(json.dumps(TOKENS))
    return folder


def pack(folder, path, *, method=zipfile.ZIP_DEFLATED, top="translate-en_de-1_0"):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir(top)
        for each in sorted(folder.rglob("*")):
            archive.write(each, f"{top}/{each.relative_to(folder)}")
    return path


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("packages") / "en_de")


@pytest.fixture(scope="module")
def archive(package):
    return pack(package, package.parent / "translate-en_de-1_0.argosmodel")


def test_the_archive_and_the_folder_are_one_model(package, archive, tmp_path):
    stored = pack(package, tmp_path / "package.zip", method=zipfile.ZIP_STORED, top="any")
    answers = []
    for path in (package, archive, stored):
        assert recognise(path).name == "Argos Translate"
        model, tokenizer, card = load_model(path, quant=False)
        assert card["imported"]["format"] == "Argos Translate"
        assert tokenizer.pieces == "sentencepiece"
        translator = Translator(model, tokenizer, beam_size=2, max_length=6)
        answers.append(translator.translate(["Tom is here.", "Tom."]))
    assert answers[0] == answers[1] == answers[2]
    assert tokenizer.encode("Tom is here.")[0] == TOKENS.index("\u2581Tom")


def test_nothing_is_left_of_what_was_unpacked(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with package_folder(archive) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [
            "metadata.json",
            "model",
            "sentencepiece.model",
        ]
    load_model(archive, quant=False)
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_begins_translations_is_forced_and_no_text(tmp_path):
    folder = write_folder(tmp_path / "en_de", target_prefix="__de__")
    path = pack(folder, tmp_path / "en_de.argosmodel")
    model, tokenizer, _ = load_model(path, quant=False)
    found = Translator(model, tokenizer, beam_size=2, max_length=6).translate(["Tom.", "Tom is"])
    for one in found:
        assert one.hypotheses[0].tokens[0] == TOKENS.index("__de__")
        assert "__de__" not in one.text
    assert search_defaults(path) == model.search_defaults
    assert len(describe(path)["search"]["token_filters"]) == 1
    for wrong in ("__fr__", 3):
        (folder / "metadata.json").write_text(json.dumps(METADATA | {"target_prefix": wrong}))
        with pytest.raises(
            CTranslate2FormatError, match=r"__fr__.* no token|must be text; it is 3"
        ):
            load_argos(folder)
        assert describe(folder)["problems"]


def test_info_tells_of_an_archive(archive, capsys):
    assert main(["info", str(archive)]) == 0
    told = capsys.readouterr().out
    for line in (
        "format: Argos Translate",
        "languages: en to de",
        "tokenizer: pieces sentencepiece, end of sources False",
        "storage: model.bin",
    ):
        assert line in told
    assert "problems" not in told


def test_what_is_not_supported_is_told(package, tmp_path):
    folder = shutil.copytree(package, tmp_path / "en_de")
    (folder / "metadata.json").write_text(json.dumps(METADATA | {"type": "sbd"}))
    with pytest.raises(CTranslate2FormatError, match="of type 'sbd'"):
        load_argos(folder)


@pytest.fixture
def with_codes(package, tmp_path):
    """An older package, whose pieces subword-nmt makes."""
    folder = shutil.copytree(package, tmp_path / "en_de")
    (folder / "sentencepiece.model").unlink()
    merges = ["T o", "To m</w>", "i s</w>", "& q", "&q u", "&qu o", "&quo t", "&quot ;</w>"]
    (folder / "bpe.model").write_text("\n".join(["#version: 0.2", *merges, ""]))
    tokens = ["<unk>", "<s>", "</s>", "Tom", "h@@", "is", "&quot;", "."]
    (folder / "model" / "shared_vocabulary.json").write_text(json.dumps(tokens))
    return folder


def test_without_sacremoses_an_older_package_is_told_what_to_install(with_codes, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(ImportError, match=r"keras-int8nmt\[moses\]"):
        load_model(with_codes, quant=False)
    assert "keras-int8nmt[moses]" in describe(with_codes)["problems"][0]


def test_words_of_an_older_package_are_those_of_moses(with_codes, tmp_path):
    pytest.importorskip("sacremoses", reason="sacremoses is not installed")
    tokenizer = open_tokenizer(with_codes)
    assert tokenizer.encode("\u201cTom\u201d his.") == [6, 3, 6, 4, 5, 7]
    assert tokenizer.decode([6, 3, 6, 4, 5, 7, 2]) == '"Tom" his.'
    saved = tmp_path / "saved"
    saved.mkdir()
    tokenizer.save(saved)
    again = PieceTokenizer(saved)
    assert again.encode("Tom is.") == tokenizer.encode("Tom is.") == [3, 5, 7]
    (with_codes / "metadata.json").write_text(json.dumps(METADATA | {"to_code": 5}))
    with pytest.raises(TokenizerError, match="'languages' must be two codes"):
        open_tokenizer(with_codes)


def test_a_folder_whose_model_lies_elsewhere_is_refused(package, tmp_path):
    folder = shutil.copytree(package, tmp_path / "en_de")
    (folder / "model").rename(tmp_path / "model")
    (folder / "model").symlink_to(tmp_path / "model")
    with pytest.raises(CTranslate2FormatError, match="leads out of its folder"):
        load_model(folder)


# ---- hostile archives


def archive_of(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def members_of(archive):
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}


TOP = "translate-en_de-1_0/"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"../evil": b"x"}, "whose name leads elsewhere"),
        ({"/etc/evil": b"x"}, "whose name leads elsewhere"),
        ({f"{TOP}model/../../evil": b"x"}, "whose name leads elsewhere"),
        ({f"{TOP}model\\evil": b"x"}, "whose name leads elsewhere"),
        ({"a/metadata.json": b"{}", "a/model/model.bin": b""}, "holds 2 folders with metadata"),
        ({f"{TOP}metadata.json": None}, "holds 0 folders with metadata"),
        ({f"{TOP}model/model.bin": None}, "holds 0 folders with metadata"),
        ({f"{TOP}model/model.bin": bytes(50 << 20)}, r"model\.bin' of 52428800 bytes, packed into"),
        ({f"{TOP}model/config.json": b" " * (65 << 20)}, r"config\.json' of 68157440 bytes"),
        ({f"{TOP}metadata.json": b"{" + b" " * (2 << 20) + b"}"}, r"metadata\.json' of 2097154"),
        ({f"{TOP}metadata.json": b"[]"}, "must hold a JSON object"),
        ({f"{TOP}sentencepiece.model": b"x"}, "is not a SentencePiece model"),
    ],
)  # fmt: skip
def test_a_hostile_archive_is_refused_and_nothing_is_written(changed, message, archive, tmp_path):
    members = {n: c for n, c in (members_of(archive) | changed).items() if c is not None}
    path = archive_of(tmp_path / "evil.argosmodel", members)
    with pytest.raises(KerasInt8nmtError, match=message) as caught:
        load_model(path, quant=False)
    assert str(path) in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert str(path) in describe(path)["problems"][0]


def test_a_link_in_an_archive_is_refused(archive, tmp_path):
    path = tmp_path / "evil.argosmodel"
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members_of(archive).items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            linked = name.endswith("config.json")
            info.external_attr = ((stat.S_IFLNK if linked else stat.S_IFREG) | 0o644) << 16
            opened.writestr(info, b"/etc/passwd" if linked else content)
    with pytest.raises(CTranslate2FormatError, match=r"config\.json' that is a link"):
        load_model(path)


def test_a_member_that_is_larger_than_it_says_is_not_unpacked(archive, tmp_path):
    path = tmp_path / "evil.argosmodel"
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        info = opened.getinfo(f"{TOP}model/model.bin")
    size = info.file_size.to_bytes(4, "little")
    at = content.rindex(f"{TOP}model/model.bin".encode()) - 46 + 24
    assert content[at : at + 4] == size
    content[at : at + 4] = (info.file_size - 1000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(CTranslate2FormatError, match="larger than its directory says"):
        load_model(path)


@pytest.mark.parametrize("tries", [60, pytest.param(MANY, marks=pytest.mark.slow, id="many")])
def test_damaged_archives_give_errors_that_name_them_or_the_same_tensors(tries, archive, tmp_path):
    def tensors(path):
        with package_folder(path) as folder:
            model = open_model(model_folder(folder))
            names = [name for name in model.file.variables if name in model.tensors]
            return {name: model.tensors.take(name, model.tensors.shape(name)) for name in names}

    content, path = archive.read_bytes(), tmp_path / "damaged.argosmodel"
    path.write_bytes(content)
    whole, rng = tensors(path), random.Random(tries)
    refused = 0
    for _ in range(tries):
        path.write_bytes(content)
        rng.choice((bits, bits, runs, cut))(path, rng)
        begin = time.monotonic()
        try:
            found = tensors(path)
        except KerasInt8nmtError as error:
            message, refused = str(error), refused + 1
            if str(path) not in message and "of model.bin" not in message:
                raise
        else:
            # The checksums tell of any byte that counts.
            assert found.keys() == whole.keys()
            assert all(np.array_equal(found[name], whole[name]) for name in whole)
        assert time.monotonic() - begin < 10
    assert refused > tries // 4


def test_a_file_that_is_no_archive_is_told(tmp_path):
    path = Path(tmp_path / "en_de.argosmodel")
    for content in (b"", b"PK\3\4", b"not an archive"):
        path.write_bytes(content)
        with pytest.raises(CTranslate2FormatError, match=r"en_de\.argosmodel' is damaged"):
            load_model(path)
