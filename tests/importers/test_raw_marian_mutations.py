"""Mutated raw Marian models: each is opened whole, or one error of the package names what is wrong.

`KERAS_INT8NMT_FUZZ` says how many are tried, `KERAS_INT8NMT_FUZZ_SEED` which.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.mutations import bits, copy_folder, cut, mutate, runs
from helpers.raw_marian import (
    MODEL_OPTIONS,
    random_tensors,
    write_decoder,
    write_npz,
    write_vocabulary,
    zip_folder,
)

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.raw_marian_facts import describe, search_defaults
from keras_int8nmt.importers.raw_marian_files import find_files, is_raw_marian
from keras_int8nmt.importers.raw_marian_model import open_model, read_search
from keras_int8nmt.importers.raw_marian_tokenizer import tokenizer_of
from keras_int8nmt.tokenizers.fit import check_fit

TRIES = int(os.environ.get("KERAS_INT8NMT_FUZZ", "0"))
SEED = int(os.environ.get("KERAS_INT8NMT_FUZZ_SEED", "1"))
SECONDS = 10
SMALL = {
    **MODEL_OPTIONS,
    **{"dim-emb": 8, "enc-depth": 1, "dec-depth": 1, "transformer-dim-ffn": 8},
    **{"transformer-heads": 2, "dim-vocabs": [12, 12]},
}
PIECES = ["</s>", "<unk>", "lo@@", "w", "low", "y", "null", "1e3", '"', "it's", "#", ">>deu<<"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    folder.mkdir()
    write_npz(folder / "model.npz", random_tensors(SMALL, 12, 12), SMALL)
    write_vocabulary(folder / "en.vocab.yml", PIECES)
    (folder / "source.bpe").write_text("#version: 0.2\nl o\nlo w</w>\n")
    write_decoder(folder)
    return folder


@pytest.fixture(scope="module")
def tensors(whole):
    with np.load(whole / "model.npz") as content:
        return {content[name].tobytes() for name in content.files}


def use(path, tensors):
    """All that is done of opening a model without Keras; what it gives is whole."""
    if not is_raw_marian(path):
        raise KerasInt8nmtError(f"{path} is not recognised.")
    opened = open_model(path)
    read_search(opened.files, opened.vocabularies)
    tokenizer = tokenizer_of(opened)
    if tokenizer is not None:
        tokenizer.encode(">>deu<< low y lox")
        # As the front does with a model.
        ids = {name: opened.settings[name] for name in ("pad_id", "eos_id")}
        check_fit(SimpleNamespace(settings=opened.settings, **ids), tokenizer)
    left = opened.tensors
    for name in list(left._left):
        value = left.take(name, left.shape(name))
        assert value.tobytes() in tensors
    described, asked = describe(path), search_defaults(path)
    assert "problems" not in described
    assert len(asked) <= 3


def attempt(path, tensors, what):
    """Whether a model could be opened; fails on another error than ours, and on a wait."""
    started = time.monotonic()
    try:
        use(path, tensors)
        return True
    except KerasInt8nmtError as error:
        assert str(error), what  # noqa: PT017
        return False
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")
    finally:
        assert time.monotonic() - started < SECONDS, what


def try_folders(whole, tensors, place, tries):
    used = 0
    for seed in range(SEED, SEED + tries):
        copy_folder(whole, place)
        what = mutate(place, random.Random(seed))
        used += attempt(place, tensors, (seed, what))
    return used


def try_archives(whole, tensors, place, tries):
    used = 0
    kept = [
        zip_folder(whole, place / f"{i}.zip", below, method).read_bytes()
        for i, (below, method) in enumerate(
            [("", zipfile.ZIP_DEFLATED), ("a", zipfile.ZIP_DEFLATED), ("", zipfile.ZIP_STORED)]
        )
    ]
    path = place / "model.zip"
    for seed in range(SEED, SEED + tries):
        rng = random.Random(seed)
        path.write_bytes(kept[seed % 3])
        how = rng.choice((bits, bits, runs, cut))
        how(path, rng)
        used += attempt(path, tensors, (seed, how.__name__))
    return used


def test_the_whole_model_opens(whole, tensors, tmp_path):
    use(whole, tensors)
    use(zip_folder(whole, tmp_path / "a.zip"), tensors)


def test_a_mutated_folder_is_whole_or_refused(whole, tensors, tmp_path):
    assert try_folders(whole, tensors, tmp_path / "model", 200) < 120


def test_a_mutated_archive_is_whole_or_refused(whole, tensors, tmp_path):
    assert try_archives(whole, tensors, tmp_path, 150) < 100


@pytest.mark.slow
def test_ten_thousand_mutated_folders_are_whole_or_refused(whole, tensors, tmp_path):
    tries = TRIES or 10_000
    assert try_folders(whole, tensors, tmp_path / "model", tries) < tries * 0.6


@pytest.mark.slow
def test_ten_thousand_mutated_archives_are_whole_or_refused(whole, tensors, tmp_path):
    tries = TRIES or 10_000
    assert try_archives(whole, tensors, tmp_path, tries) < tries * 0.6


@pytest.mark.parametrize("name", ["model.npz", "en.vocab.yml", "decoder.yml", "source.bpe"])
def test_a_link_that_leads_out_of_a_folder_is_not_followed(whole, name, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "model")
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(KerasInt8nmtError, match=f"{name}.*leads out of its folder"):
        tokenizer_of(open_model(folder))


@pytest.mark.parametrize("told", ["../other.npz", "/etc/passwd", "..", "a\\b.npz", "x\0y.npz"])
def test_names_in_decoder_yml_stay_in_the_folder(whole, told, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "model")
    (tmp_path / "other.npz").write_bytes(b"")
    (folder / "decoder.yml").write_text(f'vocabs:\n  - "{told}"\n'.replace("\0", "\\0"))
    with pytest.raises(MarianFormatError, match=r"has no file|decoder"):
        open_model(folder)


def add(path, name, content=b"", symlink=False):
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        if symlink:
            info.external_attr = 0o120777 << 16
        archive.writestr(info, content)


@pytest.mark.parametrize("name", ["../evil.yml", "/tmp/evil.yml", "a\\..\\evil.yml", "a/../../b"])
def test_an_archive_whose_names_lead_out_is_refused(whole, name, tmp_path):
    path = zip_folder(whole, tmp_path / "model.zip")
    add(path, name)
    with pytest.raises(MarianFormatError, match=r"model\.zip.*leads elsewhere"):
        open_model(path)


def test_an_archive_makes_no_links(whole, tmp_path):
    secret = tmp_path / "secret.yml"
    secret.write_text("</s>: 0\n<unk>: 1\n")
    folder = shutil.copytree(whole, tmp_path / "model")
    (folder / "en.vocab.yml").unlink()
    path = zip_folder(folder, tmp_path / "model.zip")
    add(path, "en.vocab.yml", str(secret).encode(), symlink=True)
    with pytest.raises(KerasInt8nmtError, match=r"model\.zip.*en\.vocab\.yml.*a link or a device"):
        open_model(path)


def test_an_archive_that_fills_the_disk_is_refused(whole, tmp_path):
    path = zip_folder(whole, tmp_path / "model.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.vocab.yml", bytes(100 << 20))
    with pytest.raises(MarianFormatError, match=r"model\.zip.*at most 20 times"):
        open_model(path)


def test_what_an_archive_was_unpacked_into_goes_with_the_next(whole, tmp_path):
    folders = []
    for name in ("a.zip", "b.zip"):
        place = find_files(zip_folder(whole, tmp_path / name)).place
        folders.append(Path(place.path("decoder.yml")).parent)
        del place
    assert not folders[0].exists()
    assert folders[1].exists()
    assert folders[1].name == "b.zip"
