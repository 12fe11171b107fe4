"""`save_folder` and `load_folder`: what comes back is what was saved, and damage is named."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from helpers.models import calibrate_eagerly

from keras_int8nmt import MarianTokenizer, build_transformer, convert
from keras_int8nmt.storage import model_folder as saving
from keras_int8nmt.storage.card import read_card, seal_card, update_card
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.storage.model_folder import load_folder, open_model, save_folder

FILES = ["model.keras", "source.spm", "target.spm", "vocab.json"]


class FileTokenizer(MarianTokenizer):
    """A tokenizer that is its files."""

    def __init__(self):
        self.pad_id, self.eos_id = 0, 1

    def save(self, folder):
        for name in FILES[1:]:
            (folder / name).write_bytes(name.encode() * 100)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "source": rng.integers(2, 19, (4, 6)).astype(np.int32),
        "target": rng.integers(2, 19, (4, 5)).astype(np.int32),
    }


@pytest.fixture(scope="module")
def models(inputs):
    settings = {
        "source_vocabulary_size": 19,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "model_dim": 8,
        "num_heads": 2,
        "ffn_dim": 16,
        "max_length": 12,
    }
    calibrated = build_transformer(**settings)
    calibrate_eagerly(calibrated, inputs)
    return {
        "float": build_transformer(False, **settings),
        "uncalibrated": build_transformer(**settings),
        "calibrated": calibrated,
        "converted": convert(calibrated),
        "mixed": convert(calibrated, policy="paper"),
        "all float": convert(calibrated, policy="float32"),
    }


@pytest.fixture(scope="module", autouse=True)
def stand_in_tokenizer():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "load_tokenizer", lambda folder, files, name: sorted(files))
        yield


@pytest.mark.parametrize(
    ("kind", "state", "precision"),
    [
        ("float", "float", "float32"),
        ("uncalibrated", "float", "float32"),
        ("calibrated", "calibrated", "float32"),
        ("converted", "converted", "int8"),
        ("mixed", "converted", "mixed"),
        ("all float", "converted", "float32"),
    ],
)
def test_outputs_are_bit_equal_after_loading(tmp_path, models, inputs, kind, state, precision):
    model = models[kind]
    save_folder(model, tmp_path / "m", card={"thresholds_mode": "symmetric"})
    loaded, _, card = load_folder(tmp_path / "m")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    assert (card["state"], card["precision"]) == (state, precision)
    assert card["thresholds_mode"] == "symmetric"
    assert sorted(os.listdir(tmp_path)) == ["m"]
    spec = ["spec.json", "spec.safetensors"] if state == "converted" else []
    assert sorted(os.listdir(tmp_path / "m")) == ["model.keras", "model_card.json", *spec]


def test_a_calibrated_model_can_be_converted_after_loading(tmp_path, models, inputs):
    save_folder(models["calibrated"], tmp_path / "m")
    int8 = convert(load_folder(tmp_path / "m")[0])
    np.testing.assert_array_equal(int8(inputs), models["converted"](inputs))


def test_the_report_travels_with_the_model(tmp_path, models):
    save_folder(models["converted"], tmp_path / "m")
    loaded, _, _ = load_folder(tmp_path / "m")
    assert loaded.conversion_report.to_json() == models["converted"].conversion_report.to_json()


def test_a_loaded_model_is_saved_as_it_was(tmp_path, models):
    save_folder(models["converted"], tmp_path / "m")
    loaded, _, card = load_folder(tmp_path / "m")
    save_folder(loaded, tmp_path / "again")
    again = read_card(tmp_path / "again")
    for key in ("state", "precision", "conversion_report"):
        assert again[key] == card[key]


def test_tokenizer_files_are_kept(tmp_path, models):
    save_folder(models["float"], tmp_path / "m", FileTokenizer())
    _, files, _ = load_folder(tmp_path / "m")
    assert files == FILES
    assert (tmp_path / "m" / "source.spm").read_bytes() == b"source.spm" * 100


def test_nothing_is_overwritten_without_force(tmp_path, models):
    save_folder(models["float"], tmp_path / "m", card={"note": "first"})
    with pytest.raises(ModelFolderError, match="exists already"):
        save_folder(models["float"], tmp_path / "m")
    assert read_card(tmp_path / "m")["note"] == "first"
    save_folder(models["float"], tmp_path / "m", card={"note": "second"}, force=True)
    assert read_card(tmp_path / "m")["note"] == "second"
    assert os.listdir(tmp_path) == ["m"]


def test_force_replaces_model_folders_only(tmp_path, models):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelFolderError, match="other files"):
        save_folder(models["float"], tmp_path / "home", force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFolderError, match="not a folder"):
        save_folder(models["float"], tmp_path / "file", force=True)
    with pytest.raises(ModelFolderError, match="no folder"):
        save_folder(models["float"], tmp_path / "nowhere" / "m")
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("force", [False, True])
def test_a_failure_while_saving_leaves_nothing_new(tmp_path, models, force):
    class Failing(FileTokenizer):
        def save(self, folder):
            super().save(folder)
            raise RuntimeError("the disk is full")

    if force:
        save_folder(models["float"], tmp_path / "m", card={"note": "first"})
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(RuntimeError, match="disk is full"):
        save_folder(models["float"], tmp_path / "m", Failing(), force=force)
    assert sorted(os.listdir(tmp_path)) == before
    if force:
        assert load_folder(tmp_path / "m")[2]["note"] == "first"


@pytest.fixture
def folder(tmp_path, models):
    save_folder(models["converted"], tmp_path / "m", FileTokenizer())
    return tmp_path / "m"


@pytest.mark.parametrize("name", [*FILES, "model_card.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelFolderError, match=name):
        load_folder(folder)


@pytest.mark.parametrize("size", [0, 10, -1])
@pytest.mark.parametrize("name", [*FILES, "model_card.json"])
def test_a_truncated_file_is_named(folder, name, size):
    path = folder / name
    # The card's last byte is a line feed, which it can do without.
    path.write_bytes(path.read_bytes()[: size - (name == "model_card.json" and size < 0)])
    with pytest.raises(ModelFolderError, match=name):
        load_folder(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_noticed(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=f"{name}.*SHA-256"):
        load_folder(folder)


def test_a_tokenizer_file_that_was_put_in_is_noticed(folder):
    (folder / "target_vocab.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="target_vocab"):
        load_folder(folder)


def change_card(folder, change, reseal=True):
    path = folder / "model_card.json"
    card = json.loads(path.read_text())
    change(card)
    if reseal:
        seal_card(folder, card)
    else:
        path.write_text(json.dumps(card))


def test_a_changed_card_is_noticed(folder):
    change_card(folder, lambda card: card.update(precision="float32"), reseal=False)
    with pytest.raises(ModelFolderError, match=r"model_card\.json.*checksum"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(format_version=99), "format version 99"),
        (lambda card: card.update(format="another"), "not the card"),
        (
            lambda card: [card["files"].pop(name) for name in ("model.keras", "spec.json")],
            "must list model.keras or spec.json and spec.safetensors",
        ),
        (lambda card: card["files"].update({"../x": {}}), "may list"),
        (lambda card: card["files"].update({"vocab.json": 1}), "vocab.json"),
        (lambda card: card.pop("state"), "state"),
        (lambda card: card["conversion_report"].update(rows=[{"name": "x"}]), "keys"),
    ],
)
def test_a_card_that_is_not_right_is_refused(folder, change, message):
    change_card(folder, change)
    with pytest.raises(ModelFolderError, match=message):
        load_folder(folder)


def test_what_is_no_model_folder_is_named(tmp_path):
    for load in (load_folder, open_model):
        with pytest.raises(ModelFolderError, match="nowhere"):
            load(tmp_path / "nowhere")
    with pytest.raises(ModelFolderError, match=r"neither model_card\.json"):
        open_model(tmp_path)


def test_the_card_can_be_added_to(folder):
    update_card(folder, {"bleu": {"bleu": 32.5}})
    assert load_folder(folder)[2]["bleu"] == {"bleu": 32.5}
    with pytest.raises(ModelFolderError, match="files"):
        update_card(folder, {"files": {}})
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_a_card_cannot_set_what_is_found_out(tmp_path, models):
    with pytest.raises(ModelFolderError, match="precision"):
        save_folder(models["float"], tmp_path / "m", card={"precision": "int4"})
    with pytest.raises((TypeError, ValueError)):
        save_folder(models["float"], tmp_path / "m", card={"bleu": float("nan")})
    assert os.listdir(tmp_path) == []
