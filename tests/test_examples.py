"""The examples run from training to INT8 translation, and what they promise is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_int8nmt
from keras_int8nmt import Translator, convert, load_folder
from keras_int8nmt.calibration.from_sentences import calibrate
from keras_int8nmt.storage.builtin import read_pairs

ROOT = Path(__file__).resolve().parents[1]
# Where the package lies that the tests import: the installed one, which has a native library.
PACKAGES = Path(keras_int8nmt.__file__).resolve().parents[1]


def run_example(name, *arguments, folder):
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGES), environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_train_quantize_translate(tmp_path):
    output = run_example("train_toy.py", folder=tmp_path)
    assert "saved toy.keras" in output
    assert float(output.rpartition("accuracy ")[2].split()[0]) > 0.98
    output = run_example("quantize.py", "--mode", "independent", folder=tmp_path)
    accuracy = [float(line.split()[-1]) for line in output.splitlines() if "accuracy" in line]
    assert accuracy[0] > 0.98
    assert accuracy[1] > accuracy[0] - 0.01
    output = run_example(
        "fine_tune.py", "--mode", "naive", "--epochs", "1", "--output", "tuned.keras",
        folder=tmp_path,
    )  # fmt: skip
    losses = [float(line.split()[-1]) for line in output.splitlines() if "INT8 loss" in line]
    assert losses[1] < losses[0]
    assert "->" in output
    assert "saved tuned.keras" in output
    output = run_example("translate.py", "--text", "3 1 4 1 5", "7 2", folder=tmp_path)
    # Both models reverse both lines.
    assert output.count("3 1 4 1 5  ->  5 1 4 1 3") == 2
    assert output.count("7 2  ->  2 7") == 2


@pytest.fixture
def corpus(tmp_path):
    """A folder like Multi30k's, of two hundred sentences; the package's own, English and German."""
    folder = tmp_path / "data"
    folder.mkdir()
    for part, pairs in zip(("train", "val"), (read_pairs()[1], read_pairs()[0][:20]), strict=True):
        for language, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
            text = "".join(line + "\n" for line in lines)
            (folder / f"{part}.{language}").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_model_trained_on_sentences_can_be_quantized(corpus, tmp_path):
    options = ["--data", str(corpus), "--target", "de", "--output", "model"]
    options += ["--vocabulary", "300", "--epochs", "1", "--steps", "3", "--batch-tokens", "256"]
    output = run_example("train_multi30k.py", *options, folder=tmp_path)
    assert "saved model" in output
    assert "BLEU on the validation set" in output
    model, tokenizer, card = load_folder(tmp_path / "model")
    assert card["state"] == "float"
    assert card["trained_on"] == "Multi30k en-de, 220 pairs"
    assert (tokenizer.pad_id, tokenizer.eos_id) == (model.pad_id, model.eos_id) == (0, 1)
    assert tokenizer.decode(tokenizer.encode_target("Guten Morgen.")) == "Guten Morgen."
    sources = [source for source, _ in read_pairs()[0][:8]]
    calibrate(model, tokenizer, sources)
    int8 = Translator(convert(model), tokenizer, max_length=12)
    assert len(int8(sources)) == 8


@pytest.mark.slow
def test_two_text_files_become_a_model_that_translates_in_int8(corpus, tmp_path):
    options = ["--source", str(corpus / "train.en"), "--target", str(corpus / "train.de")]
    options += ["--vocabulary", "300", "--layers", "1", "--width", "32", "--epochs", "1"]
    options += ["--output", "int8", "--text", "Good morning.", "It rains."]
    output = run_example("train_from_text.py", *options, folder=tmp_path)
    assert "PairCounts(read=220, kept=220, empty=0, too_long=0)" in output
    assert "saved int8" in output
    assert "Good morning.  ->  " in output
    model, tokenizer, card = load_folder(tmp_path / "int8")
    assert card["state"] == "converted"
    assert model.pad_id == tokenizer.pad_id == 0
    assert tokenizer.decode(tokenizer.encode("Good morning.")) == "Good morning."


def test_without_the_corpus_training_is_skipped_with_a_reason(tmp_path):
    output = run_example("train_multi30k.py", "--data", "nowhere", folder=tmp_path)
    assert output == (
        f"skipped: there is no {Path('nowhere') / 'train.en'}; --data names the folder of the "
        "corpus\n"
    )
