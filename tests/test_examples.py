"""The examples run from training to INT8 translation, and what they promise is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_int8nmt import Translator, convert, load_folder
from keras_int8nmt.calibration.from_sentences import calibrate
from keras_int8nmt.storage.builtin import read_pairs

ROOT = Path(__file__).resolve().parents[1]


def run_example(name, *arguments, folder):
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
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
    assert tokenizer.pad_id == model.pad_id == 299
    assert tokenizer.decode(tokenizer.encode_target("Guten Morgen.")) == "Guten Morgen."
    sources = [source for source, _ in read_pairs()[0][:8]]
    calibrate(model, tokenizer, sources)
    int8 = Translator(convert(model), tokenizer, max_length=12)
    assert len(int8(sources)) == 8


def test_without_the_corpus_training_is_skipped_with_a_reason(tmp_path):
    output = run_example("train_multi30k.py", "--data", "nowhere", folder=tmp_path)
    assert output == (
        f"skipped: there is no {Path('nowhere') / 'train.en'}; --data names the folder of the "
        "corpus\n"
    )


def test_batches_hold_each_pair_once_and_have_few_shapes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from multi30k_data import Batches

    lengths = [(n % 9 + 1, (3 * n) % 11 + 1) for n in range(100)]
    pairs = [([7] * (s - 1) + [0], [n + 100] * (t - 1) + [0]) for n, (s, t) in enumerate(lengths)]
    batches = Batches(pairs, pad_id=5, start_id=6, tokens=64, widths=(4, 8, 10), seed=1)
    fits = [n for n, pair in enumerate(lengths) if max(pair) <= 10]
    seen, shapes, orders = [], set(), []
    for _ in range(2):
        orders.append(str(batches.batches))
        for inputs, labels, weights in (batches[i] for i in range(len(batches))):
            shapes.add(labels.shape)
            assert inputs["source"].shape == inputs["target"].shape == labels.shape
            # The decoder is fed what comes before; padding and empty rows have no loss.
            assert (inputs["target"][:, 1:] == labels[:, :-1]).all()
            assert (inputs["target"][:, 0] == 6).all()
            assert ((labels == 5) == (weights == 0)).all()
            seen += [int(n) - 100 for n in labels[:, 0] if n >= 100]
        batches.on_epoch_end()
    assert sorted(shapes) == [(6, 10), (8, 8), (16, 4)]
    assert sorted(seen) == sorted(2 * [n for n in fits if lengths[n][1] > 1])
    assert orders[0] != orders[1]
