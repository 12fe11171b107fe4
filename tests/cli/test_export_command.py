"""`keras-int8nmt export`: SavedModels with the answers of `Translator`."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import make_transformer, random_ids, tiny_model

from keras_int8nmt import Translator, convert, load_saved_model, native, save_folder
from keras_int8nmt.cli.command_line import main

SEARCH = {"beam_size": 3, "num_hypotheses": 2, "min_length": 2, "max_length": 8}
WORDS = [word for name, value in SEARCH.items() for word in (f"--{name.replace('_', '-')}", value)]


def export(*words):
    return main(["export", *map(str, words)])


@pytest.fixture(scope="module")
def model():
    return make_transformer()


@pytest.fixture(scope="module")
def folders(model, tmp_path_factory):
    """A float and a converted model as folders of ours, and as `.keras` files."""
    place = tmp_path_factory.mktemp("models")
    made = {"float": model, "int8": convert(model)}
    for name, one in made.items():
        save_folder(one, place / name)
        one.save(place / f"{name}.keras")
    return place, made


def answers(folder, model, sentences):
    ids = np.full((len(sentences), max(map(len, sentences))), model.pad_id, np.int32)
    for row, sentence in zip(ids, sentences, strict=True):
        row[: len(sentence)] = sentence
    return load_saved_model(folder).signatures["serving_default"](source_ids=tf.constant(ids))


@pytest.mark.parametrize("form", ["{}", "{}.keras"])
@pytest.mark.parametrize(
    ("kind", "ops"), [("int8", "native"), ("int8", "stock"), ("float", "native")]
)
def test_a_folder_or_a_file_becomes_a_saved_model_with_the_answers_of_a_translator(
    folders, tmp_path, capsys, kind, ops, form
):
    if ops == "native" and native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")
    place, made = folders
    out, figures = tmp_path / "served", tmp_path / "figures.json"
    source = place / form.format(kind)
    assert export(source, "-o", out, "--ops", ops, *WORDS, "--json", figures) == 0
    told = json.loads(figures.read_text())
    assert told["ops"] == ops
    assert "saved_model.pb" in told["files"]
    assert told["inputs"] == {"source_ids": {"dtype": "int32", "shape": [None, None]}}
    assert set(told["outputs"]) == {"lengths", "scores", "tokens"}
    assert "serving_default takes source_ids int32" in capsys.readouterr().out
    # Of stock operations alone: nothing of this package is in the graph.
    assert (b"KerasInt8nmt" in (out / "saved_model.pb").read_bytes()) is (ops == "native")
    sentences = random_ids(made[kind], 5)
    found = answers(out, made[kind], sentences)
    path = "fast" if native.functions() is not None else "layers"
    with Translator(made[kind], None, path=path, **SEARCH) as translator:
        expected = translator.translate_ids(sentences)
    for i, result in enumerate(expected):
        for j, hypothesis in enumerate(result.hypotheses):
            length = int(found["lengths"][i, j])
            assert found["tokens"][i, j, :length].numpy().tolist() == list(hypothesis.tokens)
            assert float(found["scores"][i, j]) == pytest.approx(hypothesis.score, abs=1e-4)


def test_what_cannot_be_exported_is_named_and_nothing_is_written(tmp_path, capsys):
    plain = tmp_path / "plain.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(plain)
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(plain.read_bytes()[:100])
    out = tmp_path / "out"
    for source, message in (
        (plain, "Sequential has no"),
        (damaged, "is no Keras model, or damaged"),
    ):
        assert export(source, "-o", out) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()


def test_force_replaces_a_saved_model_and_no_other_folder(tmp_path, capsys):
    save_folder(convert(make_transformer()), tmp_path / "int8")
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("mine")
    assert export(tmp_path / "int8", "-o", other, "--force") == 2
    assert "holds other files and no saved_model.pb" in capsys.readouterr().err
    assert (other / "precious").read_text() == "mine"
    served = tmp_path / "served"
    for ops in ("native", "stock"):
        assert export(tmp_path / "int8", "-o", served, "--ops", ops, "--force") == 0
    assert b"KerasInt8nmt" not in (served / "saved_model.pb").read_bytes()
    assert export(tmp_path / "int8", "-o", served) == 2
    assert "--force replaces it" in capsys.readouterr().err


def test_without_the_library_the_other_operations_are_named(tmp_path, capsys, monkeypatch):
    from keras_int8nmt.ops import library

    save_folder(tiny_model(), tmp_path / "float")

    def refuse():
        raise RuntimeError("There is no library.")

    monkeypatch.setattr(library, "require", refuse)
    assert export(tmp_path / "float", "-o", tmp_path / "out") == 2
    assert "There is no library. --ops stock does without it." in capsys.readouterr().err
