"""`keras-int8nmt report -o`: the page from a folder, with and without a test set; bad input."""

from __future__ import annotations

import json

import pytest
from helpers.models import calibrate_on_sentences, tiny_model

from keras_int8nmt import MarianTokenizer, convert, save_folder
from keras_int8nmt.cli import main
from keras_int8nmt.storage.builtin import FOLDER

pytestmark = pytest.mark.usefixtures("without_graphs")

SENTENCES = ["Where is the station?", "It rains.", "My dog likes the old <b>shoes</b>."]
SHORT = ["--max-length", "6", "--streams", "1", "--beam-size", "1"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One tiny model, calibrated and converted, and a test set."""
    place = tmp_path_factory.mktemp("models")
    model = tiny_model(max_length=24)
    tokenizer = MarianTokenizer(FOLDER)
    calibrate_on_sentences(model, tokenizer, SENTENCES, SENTENCES)
    save_folder(model, place / "calibrated", tokenizer, {"thresholds_mode": "symmetric"})
    save_folder(convert(model), place / "int8", tokenizer)
    for name in ("src", "ref"):
        (place / name).write_text("".join(line + "\n" for line in SENTENCES))
    return place


def run(*arguments):
    return main([str(a) for a in arguments])


def fails(capfd, *arguments):
    capfd.readouterr()
    assert run("report", *arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    return err


def test_the_page_of_a_calibrated_folder(folders, tmp_path, capfd):
    page, figures = tmp_path / "r.html", tmp_path / "r.json"
    test_set = ["--src", folders / "src", "--ref", folders / "ref"]
    assert (
        run("report", folders / "calibrated", "-o", page, "--json", figures, *test_set, *SHORT) == 0
    )
    assert str(page) in capfd.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "<h1>calibrated: INT8 report</h1>" in text
    assert "thresholds: symmetric" in text
    assert "3 sentences of src; beam size 1, batch size 32, max length 6" in text
    content = json.loads(figures.read_text(encoding="utf-8"))
    assert content["state"] == "calibrated"
    report = content["report"]
    assert len(report["tensors"]) == len(content["rows"])
    assert report["quality"]["sentences"] == 3
    assert report["quality"]["before"]["precision"] == "float32"
    assert report["quality"]["after"]["precision"] == "int8"
    # Measured on the test set.
    assert all(row["output_sqnr_db"] is not None for row in report["matmuls"])


def test_a_converted_model_beside_it_is_used_and_checked(folders, tmp_path, capfd):
    page = tmp_path / "r.html"
    both = [folders / "calibrated", "--converted", folders / "int8"]
    assert run("report", *both, "-o", page) == 0
    assert "Translation quality: give the sentences" in page.read_text(encoding="utf-8")
    again = [folders / "calibrated", "--converted", folders / "calibrated", "-o", page, "--force"]
    assert "is not a converted model" in fails(capfd, *again).replace("\n", " ")


def test_the_page_of_a_converted_folder(folders, tmp_path):
    page = tmp_path / "r.html"
    test_set = ["--src", folders / "src", "--ref", folders / "ref"]
    assert run("report", folders / "int8", "-o", page, *test_set, *SHORT) == 0
    text = page.read_text(encoding="utf-8")
    assert "a converted model keeps its thresholds only" in text
    assert "a converted model has no float weights" in text
    assert "BLEU, INT8" in text


def test_bad_input_is_told_before_a_model_is_loaded(folders, tmp_path, capfd):
    precious = tmp_path / "precious.html"
    precious.write_text("precious")
    one = tmp_path / "one"
    one.write_text("One.\n")
    src, ref, page = folders / "src", folders / "ref", tmp_path / "new.html"
    model = tmp_path / "no_model"
    cases = [
        (["-o", precious], "--force replaces it"),
        (["-o", tmp_path / "no" / "r.html"], "no folder"),
        (["-o", page, "--src", src], "belong together"),
        (["-o", page, "--ref", ref], "belong together"),
        (["-o", page, "--src", src, "--ref", one], "3 lines"),
        (["--src", src, "--ref", ref], "-o writes"),
        (["--converted", model], "-o writes"),
        (["-o", page], "There is no model folder"),
    ]
    for options, message in cases:
        assert message in fails(capfd, model, *options)
    converted = ["-o", page, "--converted", folders / "int8"]
    assert "converted itself" in fails(capfd, folders / "int8", *converted)
    assert precious.read_text() == "precious"
    assert not page.exists()
    assert run("report", folders / "int8", "-o", precious, "--force") == 0
    assert precious.read_text(encoding="utf-8").startswith("<!doctype html>")
