"""`load_marian` against `transformers`, and what it says of folders that are not right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

safetensors_numpy = pytest.importorskip("safetensors.numpy")

from helpers.checkpoints import WRITERS, write_torch_legacy  # noqa: E402

from keras_int8nmt.importers.marian import MarianFormatError, load_marian  # noqa: E402
from keras_int8nmt.models.build import copy_weights  # noqa: E402
from keras_int8nmt.models.sinusoids import position_table  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "data" / "marian"
NAMES = sorted(p.name for p in GOLDEN.iterdir() if p.is_dir())


def assert_logits_agree(model, reference):
    expected = reference["logits"]
    inputs = {"source": reference["input_ids"], "target": reference["decoder_input_ids"]}
    got = np.asarray(model(inputs))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("quant", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name, quant):
    with np.load(GOLDEN / name / "reference.npz") as reference:
        assert_logits_agree(load_marian(GOLDEN / name, quant=quant), reference)


def test_logits_of_the_trained_model_are_those_of_transformers(shared_data):
    folder = shared_data / "models" / "marian-tiny-en-de"
    with np.load(folder / "reference" / "logits.npz") as reference:
        assert_logits_agree(load_marian(folder), reference)


def test_special_tokens_and_sizes_come_from_the_config():
    model = load_marian(GOLDEN / "gelu_two_vocabularies")
    assert (model.pad_id, model.eos_id, model.start_id) == (40, 0, 40)
    assert (model.source_vocabulary_size, model.target_vocabulary_size) == (50, 41)
    assert model.max_length == 24
    assert model.tie_embeddings == "output"


def test_quant_and_plain_models_share_their_weights():
    plain, quant = (load_marian(GOLDEN / "relu", quant=q) for q in (False, True))
    copy_weights(quant, plain)
    assert len(plain.trainable_weights) == len(quant.trainable_weights)


@pytest.fixture
def folder(tmp_path):
    """A copy of a golden folder to be spoiled."""
    shutil.copytree(GOLDEN / "relu", tmp_path / "model")
    return tmp_path / "model"


def change_config(folder, **options):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **options}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not KeyError}))


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = safetensors_numpy.load_file(path)
    change(tensors)
    safetensors_numpy.save_file(tensors, path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(MarianFormatError, match=name):
        load_marian(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MarianFormatError, match="nowhere"):
        load_marian(tmp_path / "nowhere")


def test_a_config_of_more_weights_than_there_are_is_refused_before_it_is_built(folder):
    change_config(folder, decoder_layers=10, decoder_ffn_dim=50)
    with pytest.raises(MarianFormatError, match="describes a model of"):
        load_marian(folder)


@pytest.mark.parametrize("storage", [*WRITERS, "legacy"])
def test_a_model_is_the_same_whatever_its_storage(folder, storage):
    path = folder / "model.safetensors"
    tensors = safetensors_numpy.load_file(path)
    with np.load(GOLDEN / "relu" / "reference.npz") as reference:
        path.unlink()
        if storage == "legacy":
            write_torch_legacy(folder / "pytorch_model.bin", tensors)
        else:
            if storage.endswith(".h5"):
                pytest.importorskip("h5py")
                tensors = {name: value for name, value in tensors.items() if "lm_head" not in name}
            WRITERS[storage](folder / storage, tensors)
        assert_logits_agree(load_marian(folder), reference)


@pytest.mark.parametrize("text", ["{", "[]", '{"d_model": \xff'])
def test_a_damaged_config_is_named(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(MarianFormatError, match=r"config\.json"):
        load_marian(folder)


@pytest.mark.parametrize("size", [0, 4, 1000, -100])
def test_truncated_weights_are_named(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(MarianFormatError, match=r"model\.safetensors.*damaged"):
        load_marian(folder)


NAME = "model.decoder.layers.1.encoder_attn.k_proj.weight"


def test_a_missing_tensor_is_named(folder):
    change_tensors(folder, lambda tensors: tensors.pop(NAME))
    with pytest.raises(MarianFormatError, match=f"no tensor '{NAME}'"):
        load_marian(folder)


def test_an_extra_tensor_is_named(folder):
    change_tensors(folder, lambda tensors: tensors.update({"model.extra": np.ones(2, "f4")}))
    with pytest.raises(MarianFormatError, match=r"model\.extra"):
        load_marian(folder)


def test_a_wrong_shape_is_named(folder):
    change_tensors(folder, lambda tensors: tensors.update({NAME: np.ones((16, 8), "f4")}))
    with pytest.raises(MarianFormatError, match=rf"{NAME}.*\(16, 8\).*\(16, 16\)"):
        load_marian(folder)


def test_a_wrong_dtype_is_named(folder):
    change_tensors(folder, lambda tensors: tensors.update({NAME: np.ones((16, 16), "i4")}))
    with pytest.raises(MarianFormatError, match=f"{NAME}.*I32"):
        load_marian(folder)


def test_a_nan_is_named(folder):
    bad = np.full((16, 16), np.nan, "f4")
    change_tensors(folder, lambda tensors: tensors.update({NAME: bad}))
    with pytest.raises(MarianFormatError, match=f"{NAME}.*NaN"):
        load_marian(folder)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model_type", "bart"),
        ("activation_function", "gelu_new"),
        ("static_position_embeddings", False),
        ("normalize_before", True),
        ("normalize_embedding", True),
        ("add_final_layer_norm", True),
        ("d_model", "16"),
        ("encoder_layers", KeyError),
        ("encoder_layers", 0),
        ("encoder_attention_heads", 5),
        ("pad_token_id", 50),
        ("decoder_vocab_size", 41),
    ],
)
def test_an_unsupported_option_is_named(folder, option, value):
    change_config(folder, **{option: value})
    named = {
        "encoder_layers": "encoder_layers",
        "encoder_attention_heads": "num_heads",
        "pad_token_id": "pad_id",
    }.get(option, option)
    with pytest.raises(MarianFormatError, match=named):
        load_marian(folder)


def test_positions_and_copies_of_tied_tables_in_the_file_are_checked(folder):
    model = load_marian(folder)

    def older_file(tensors):
        for name in ("lm_head", "model.encoder.embed_tokens", "model.decoder.embed_tokens"):
            tensors[name + ".weight"] = tensors["model.shared.weight"].copy()
        for stack in ("encoder", "decoder"):
            tensors[f"model.{stack}.embed_positions.weight"] = model.position_table

    change_tensors(folder, older_file)
    with np.load(folder / "reference.npz") as reference:
        assert_logits_agree(load_marian(folder), reference)
    change_tensors(folder, lambda tensors: tensors["lm_head.weight"].fill(1))
    with pytest.raises(MarianFormatError, match=r"lm_head\.weight"):
        load_marian(folder)


def test_positions_of_marian_are_offered(folder):
    stored = load_marian(folder).position_table
    change_tensors(
        folder, lambda tensors: tensors.update({"model.encoder.embed_positions.weight": stored})
    )
    model = load_marian(folder, position_encoding="marian")
    expected = position_table(model.max_length, model.model_dim, "marian")
    np.testing.assert_array_equal(model.position_table, expected, strict=True)
    assert not np.allclose(expected, stored, atol=0.01)
    with np.load(folder / "reference.npz") as reference, pytest.raises(AssertionError):
        assert_logits_agree(model, reference)


@pytest.mark.parametrize("encoding", ["interleaved", "other", None])
def test_other_positions_are_refused(folder, encoding):
    with pytest.raises(ValueError, match=r"position_encoding.*'half', 'marian'"):
        load_marian(folder, position_encoding=encoding)


def test_learned_positions_are_refused(folder):
    name = "model.encoder.embed_positions.weight"
    change_tensors(folder, lambda tensors: tensors.update({name: np.ones((24, 16), "f4")}))
    with pytest.raises(MarianFormatError, match=name):
        load_marian(folder)


def test_no_package_is_needed_to_read_weights(monkeypatch):
    for package in ("safetensors", "torch", "transformers", "h5py"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    assert load_marian(GOLDEN / "relu").model_dim == 16
