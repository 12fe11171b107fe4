"""What is told of a Hugging Face folder without Keras, and what the front makes of one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoints import write_torch_legacy
from helpers.mutations import bits, cut, runs, value

from keras_int8nmt import Translator, build_transformer, load_folder, load_model, save_folder
from keras_int8nmt.cli.command_line import main
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.folder_facts import describe, parameters
from keras_int8nmt.importers.safetensors_file import read_safetensors
from keras_int8nmt.models.settings import check_settings
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.storage.recognition import search_defaults
from keras_int8nmt.tokenizers.fit import VocabularyError

GOLDEN = Path(__file__).parents[1] / "data" / "marian" / "relu"
WORDS, PAD = 6001, 6000


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder as OPUS-MT publishes them: old PyTorch, float16, and the search in config.json."""
    folder = tmp_path_factory.mktemp("opus") / "opus-mt-en-de"
    folder.mkdir()
    for name in ("source.spm", "target.spm", "vocab.json"):
        shutil.copy(FOLDER / name, folder)
    config = json.loads((GOLDEN / "config.json").read_text())
    config |= {"vocab_size": WORDS, "decoder_vocab_size": WORDS, "num_beams": 6, "max_length": 20}
    config |= {"pad_token_id": PAD, "decoder_start_token_id": PAD, "bad_words_ids": [[PAD], [7]]}
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    tensors = {}
    for name, entry in read_safetensors(GOLDEN / "model.safetensors", ValueError).items():
        shape = tuple(WORDS if size == 50 else size for size in entry.shape)
        same = shape == entry.shape
        tensors[name] = entry.read() if same else rng.normal(0, 0.3, shape).astype("f4")
    write_torch_legacy(folder / "pytorch_model.bin", tensors, "float16")
    return folder


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "model")


def change_config(folder, **options):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **options}))


def test_a_published_folder_is_described(published):
    facts = describe(published)
    assert (facts["storage"], facts["dtype"]) == ("pytorch_model.bin", "float16")
    assert facts["vocabulary"] == {"source": WORDS, "target": WORDS}
    assert facts["search"] == {
        **{"beam_size": 6, "max_length": 19},
        "token_filters": [{"no_sequences": [[7]]}],
    }
    assert "problems" not in facts
    assert search_defaults(published).to_json() == facts["search"]


@pytest.mark.parametrize("tying", ["all", "output", "inputs", "none"])
def test_the_parameters_told_are_those_of_the_model(tying):
    given = {"model_dim": 8, "num_heads": 2, "ffn_dim": 12, "decoder_ffn_dim": 20}
    given |= {"num_encoder_layers": 1, "num_decoder_layers": 2, "tie_embeddings": tying}
    given |= {"source_vocabulary_size": 30, "max_length": 5}
    if tying in ("output", "none"):
        given["target_vocabulary_size"] = 20
    settings = check_settings(given)
    assert parameters(settings) == build_transformer(False, **settings).count_params()


def test_info_prints_a_line_for_each_fact_and_problem(folder, capsys):
    assert main(["info", str(folder)]) == 0
    told = capsys.readouterr().out
    for line in ("format: Marian", "storage: pytorch_model.bin", "dtype: float16", "problems:"):
        assert (line in told) == (line != "problems:")
    assert "search: beam_size 6, max_length 19" in told
    change_config(folder, vocab_size=WORDS + 1, decoder_vocab_size=WORDS + 1, early_stopping=True)
    (folder / "target.spm").unlink()
    assert main(["info", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "target.spm" in told
    assert "early_stopping=True" in told
    (folder / "pytorch_model.bin").unlink()
    assert main(["info", str(folder)]) == 0
    assert "has no weights, none of model.safetensors" in capsys.readouterr().out


def test_the_front_opens_a_published_folder_and_its_search(published, tmp_path):
    model, tokenizer, card = load_model(published, quant=False)
    found = {"format": "Marian", "storage": "pytorch_model.bin", "dtype": "float16"}
    assert card == {"imported": found}
    options = Translator(model, tokenizer).options
    assert (options.beam_size, options.max_length, len(options.token_filters)) == (6, 19, 1)
    save_folder(model, tmp_path / "saved", tokenizer, card)
    again, _, card = load_folder(tmp_path / "saved")
    assert card["imported"] == found
    assert Translator(again, tokenizer).options == options
    assert search_defaults(tmp_path / "saved").to_json() == model.search_defaults.to_json()


def test_what_the_search_can_not_do_is_told_when_a_folder_is_opened(folder):
    change_config(folder, repetition_penalty=1.5)
    with pytest.warns(UserWarning, match=r"config\.json' asks for repetition_penalty=1\.5"):
        load_model(folder, quant=False)


def test_a_vocabulary_that_lacks_ids_is_told(folder):
    ids = json.loads((folder / "vocab.json").read_text())
    ids.pop(next(piece for piece, i in ids.items() if i == 100))
    (folder / "vocab.json").write_text(json.dumps(ids))
    with pytest.warns(UserWarning, match="lacks 1 of 6001 source ids and 1 of 6001 target ids"):
        load_model(folder, quant=False)
    facts = describe(folder)
    assert facts["notes"][0] == "the model has 6001 source ids, and the tokenizer 6000"
    assert "problems" not in facts


def test_a_vocabulary_that_has_more_ids_is_refused(folder):
    ids = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**ids, "another": WORDS}))
    with pytest.raises(VocabularyError, match="source id 6001"):
        load_model(folder, quant=False)
    assert "some of them beyond" in describe(folder)["problems"][0]


def test_a_tokenizer_that_lies_elsewhere_is_not_read(folder, tmp_path):
    (folder / "vocab.json").rename(tmp_path / "vocab.json")
    (folder / "vocab.json").symlink_to(tmp_path / "vocab.json")
    with pytest.raises(ValueError, match=r"vocab\.json.*leads out of its folder"):
        load_model(folder, quant=False)


def test_a_file_that_is_no_model_is_told(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(ModelFolderError, match="no model"):
        load_model(tmp_path / "x")


JSON_FILES = {
    "generation_config.json": {
        **{"num_beams": 4, "max_length": 512, "min_length": 3, "length_penalty": 1.0},
        **{"bad_words_ids": [[PAD], [7, 8]], "suppress_tokens": [9], "forced_bos_token_id": 5},
        **{"forced_eos_token_id": 0, "decoder_start_token_id": PAD, "eos_token_id": 0},
        **{"repetition_penalty": 1.5, "sequence_bias": [[[5], 1.0]], "early_stopping": True},
    },
    "tokenizer_config.json": {
        "added_tokens_decoder": {
            "0": {"content": "</s>", "special": True},
            "6001": {"content": "<a>", "lstrip": False, "special": False},
        },
        **{"eos_token": "</s>", "pad_token": {"content": "<pad>"}, "unk_token": "<unk>"},
    },
    "added_tokens.json": {"<b>": 6002, "<c>": 6003},
}


def test_damaged_settings_are_told_and_nothing_else_happens(folder):
    (folder / "pytorch_model.bin").unlink()
    tensors = {"model.shared.weight": np.zeros((WORDS, 2), "f4")}
    write_torch_legacy(folder / "pytorch_model.bin", tensors)
    for name, content in JSON_FILES.items():
        (folder / name).write_text(json.dumps(content))
    whole = {name: (folder / name).read_bytes() for name in (*JSON_FILES, "config.json")}
    tries = int(os.environ.get("KERAS_INT8NMT_FUZZ", "200"))
    rng = random.Random(tries)
    told = 0
    for _ in range(tries):
        for name, content in whole.items():
            (folder / name).write_bytes(content)
        how = rng.choice((bits, runs, cut, value, value, value))
        how(folder / rng.choice(sorted(whole)), rng)
        told += bool(describe(folder).get("problems"))
        with contextlib.suppress(MarianFormatError):
            SearchDefaults.from_json(search_defaults(folder).to_json())
    assert told > tries // 2
