"""Makes tests/data/release_X_Y_Z: small models saved by a release, and its answers to sentences.

Run once a release, where it is installed, and kept: later releases load what this one saved and
give the same bits. Uses public names alone, so that it runs on every release:

    python scripts/make_release_folders.py tests/data/release_0_1_0

Each archive is a folder of `save_folder`: a Transformer of two and two small layers that learned
a little of turning sentences round. `expected.json` holds the token ids of the sentences and, for
each folder, engine and beam, the hypotheses as `[score, token, ...]`, scores in hexadecimal.
`functional.keras` is a converted Functional model that Keras alone saved; the outputs for its
inputs are there, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import sentencepiece

import keras_int8nmt
from keras_int8nmt import (
    CalibrationCallback,
    Int8Gather,
    MarianTokenizer,
    QuantAttention,
    QuantDense,
    Translator,
    balance,
    build_transformer,
    convert,
    load_folder,
    save_folder,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = 44
LENGTH = 16
SENTENCES = 20
BEAMS = (1, 3)
PATHS = ("fast", "layers")
# As `convert` takes them. The bits of the weights are given, so that no CPU chooses them.
CONVERSIONS: dict[str, dict[str, Any]] = {
    "int8": {"weight_bits": 8},
    "mixed": {"weight_bits": 8, "policy": "paper"},
    "dynamic": {"weight_bits": 8, "activations": "dynamic"},
    "integer": {
        "weight_bits": 7,
        "weights": "per_tensor",
        "softmax": "integer",
        "layer_norm": "integer",
        "bias_correction": True,
    },
}


def make_sentences(rng: np.random.Generator, count: int) -> list[str]:
    """Sentences of made-up words."""
    words = ["".join(rng.choice(list(LETTERS), rng.integers(1, 6))) for _ in range(60)]
    return [" ".join(rng.choice(words, rng.integers(1, 7))) for _ in range(count)]


def make_tokenizer(sentences: list[str]) -> MarianTokenizer:
    """A tokenizer of `PIECES` pieces, the padding the last id, as Marian's has it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_prefix=str(folder / "source"),
            vocab_size=PIECES,
            character_coverage=1.0,
            normalization_rule_name="identity",
            minloglevel=2,
        )
        os.rename(folder / "source.model", folder / "source.spm")
        (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
        reader = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
        pieces = ["</s>", "<unk>"]
        every = (reader.id_to_piece(i) for i in range(PIECES))
        pieces += [piece for piece in every if piece not in ("<s>", *pieces)]
        pieces.append("<pad>")
        vocabulary = {piece: i for i, piece in enumerate(pieces)}
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        return MarianTokenizer(folder)


def make_model(tokenizer: MarianTokenizer, ids: list[list[int]]) -> Any:
    """A Transformer without observers that was trained for a minute."""
    pad_id = tokenizer.pad_id
    model = build_transformer(
        False,
        source_vocabulary_size=pad_id + 1,
        num_encoder_layers=2,
        num_decoder_layers=2,
        model_dim=16,
        num_heads=2,
        ffn_dim=24,
        max_length=LENGTH,
        pad_id=pad_id,
        eos_id=tokenizer.eos_id,
        start_id=pad_id,
        dropout=0.0,
        name="small",
    )
    labels = pad([[*each[-2::-1], each[-1]] for each in ids], pad_id)
    model.compile(
        keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    weights = (labels != pad_id).astype(np.float32)
    inputs = {"source": pad(ids, pad_id), "target": shifted(labels, pad_id)}
    model.fit(inputs, labels, sample_weight=weights, epochs=30, verbose=0)
    return model


def pad(ids: list[list[int]], pad_id: int) -> np.ndarray:
    """int32 `[sentences, longest]`."""
    rows = np.full((len(ids), max(map(len, ids))), pad_id, np.int32)
    for row, each in zip(rows, ids, strict=True):
        row[: len(each)] = each
    return rows


def shifted(labels: np.ndarray, start_id: int) -> np.ndarray:
    """What the decoder is fed for labels."""
    return np.concatenate([np.full_like(labels[:, :1], start_id), labels[:, :-1]], axis=1)


def calibrate(model: Any, ids: list[list[int]]) -> None:
    source = pad(ids, model.pad_id)
    inputs = {"source": source, "target": shifted(source, model.start_id)}
    model.predict(inputs, verbose=0, callbacks=[CalibrationCallback()])


def answers(model: Any, tokenizer: Any, ids: list[list[int]]) -> dict[str, Any]:
    """By engine and beam: the hypotheses of each sentence, as `[score, token, ...]`."""
    found = {}
    for path in PATHS:
        for beam in BEAMS:
            with Translator(
                model, tokenizer, beam_size=beam, num_hypotheses=beam, path=path
            ) as translator:
                found[f"{path} beam {beam}"] = [
                    [[float(h.score).hex(), *map(int, h.tokens)] for h in each.hypotheses]
                    for each in translator.translate_ids(ids)
                ]
    return found


def make_functional(rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    """A converted Functional model of every public layer, and inputs for it."""
    ids = keras.Input((6,), dtype="int32")
    rows = Int8Gather(20, 16)(ids)
    seen = QuantAttention(2, 8)(rows, rows)
    model = keras.Model(ids, QuantDense(3)(QuantDense(8, activation="relu")(seen)))
    inputs = rng.integers(0, 20, (10, 6)).astype(np.int32)
    model.predict(inputs, verbose=0, callbacks=[CalibrationCallback()])
    return convert(model, weight_bits=8), inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="must not exist")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    corpus = make_sentences(rng, 500)
    tokenizer = make_tokenizer(corpus)
    every = [tokenizer.encode(text)[-LENGTH:] for text in corpus]
    texts, ids = corpus[:SENTENCES], every[:SENTENCES]

    plain = make_model(tokenizer, every)
    save_folder(plain, folder / "float", tokenizer)
    model = build_transformer(**{**plain.get_config(), "quant": True})
    by_path = {weight.path: weight for weight in plain.trainable_weights}
    for weight in model.trainable_weights:
        weight.assign(by_path[weight.path])
    calibrate(model, every)
    save_folder(model, folder / "calibrated", tokenizer, {"thresholds_mode": "symmetric"})
    balanced = balance(model)
    calibrate(balanced, every)
    for name, options in CONVERSIONS.items():
        int8 = convert(balanced if name == "integer" else model, **options)
        save_folder(int8, folder / name, None if name == "integer" else tokenizer)
    functional, inputs = make_functional(rng)
    functional.save(folder / "functional.keras")

    found = {}
    for name in ("float", "calibrated", *CONVERSIONS):
        # Of the loaded model: what was saved is what counts.
        loaded, its_tokenizer, _ = load_folder(folder / name)
        found[name] = answers(loaded, its_tokenizer, ids)
        # Keras does not compress: the observers of the calibrated model are mostly zeros.
        shutil.make_archive(str(folder / name), "zip", folder, name)
        shutil.rmtree(folder / name)
    expected = {
        "release": keras_int8nmt.__version__,
        "sentences": texts,
        "ids": ids,
        "answers": found,
        "functional": {
            "inputs": inputs.tolist(),
            "outputs": [float(x).hex() for x in np.asarray(functional(inputs)).ravel()],
        },
    }
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
