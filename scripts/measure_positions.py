"""What a model loses on positions that it was not trained with, short and long.

    python scripts/measure_positions.py SENTENCES [--steps 900] [--dim 64] [--trained marian]

Two small models learn to copy, one with the sinusoids of Marian ("marian") and one with those that
conversions of its models have ("half"): same seeds, same batches, same steps. What they copy are
runs of 1 to 12 sentences, up to 300 tokens, each token a word of the commonest or a piece of one.
Each is then asked with both tables for sentences that it has not seen, every token after those that
are right. Printed are the tokens that it gets wrong, in percent, and the loss, by length of the
source.

The two tables differ by position / dim: what happens to 64 columns at position 40 happens to 512 at
position 320. So read lengths by the width of your model.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import sentencepiece

from keras_int8nmt import build_transformer, copy_weights

ENCODINGS = ("marian", "half")
PAD, EOS, START = 0, 1, 2
PIECES = 500
# Bins of lengths; the first is of single sentences. Batches have these widths and no others.
WIDTHS = (50, 100, 200, 300)
BATCH_TOKENS = 2400
HELD_OUT = 1500


def encode_lines(path: Path) -> list[list[int]]:
    """The sentences of a file in pieces that are learned of it."""
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            input=str(path),
            model_prefix=f"{folder}/m",
            vocab_size=PIECES,
            pad_id=PAD,
            eos_id=EOS,
            bos_id=START,
            unk_id=3,
            minloglevel=2,
        )
        model = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/m.model")
    lines = path.read_text(encoding="utf-8").split("\n")
    return [model.encode(line) for line in lines if line]


def runs(sentences: list[list[int]], rng: random.Random, width: int) -> list[int]:
    """Sentences one after another, of more tokens than the width before this one."""
    found = list(rng.choice(sentences))
    if width == WIDTHS[0]:
        return found[: width - 1]
    least = WIDTHS[WIDTHS.index(width) - 1]
    length = rng.randint(least + 1, width - 1)
    while len(found) < length:
        found += rng.choice(sentences)
    return found[:length]


def batches(
    sentences: list[list[int]], rng: random.Random
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
    """Endless batches of one width each: inputs, labels and weights."""
    while True:
        yield batch(sentences, rng, rng.choice(WIDTHS))


def batch(
    sentences: list[list[int]], rng: random.Random, width: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rows = BATCH_TOKENS // width
    labels = np.full((rows, width), PAD, np.int32)
    for row in range(rows):
        ids = runs(sentences, rng, width)
        labels[row, : len(ids) + 1] = [*ids, EOS]
    target = np.concatenate([np.full((rows, 1), START, np.int32), labels[:, :-1]], axis=1)
    return {"source": labels, "target": target}, labels, (labels != PAD).astype(np.float32)


def build(encoding: str, dim: int) -> keras.Model:
    return build_transformer(
        False,
        source_vocabulary_size=PIECES,
        num_encoder_layers=2,
        num_decoder_layers=2,
        model_dim=dim,
        num_heads=4,
        ffn_dim=2 * dim,
        norm="pre",
        dropout=0.0,
        max_length=WIDTHS[-1],
        position_encoding=encoding,
        pad_id=PAD,
        eos_id=EOS,
        start_id=START,
    )


def train(encoding: str, sentences: list[list[int]], steps: int, dim: int) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = build(encoding, dim)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, alpha=0.05, warmup_target=2e-3, warmup_steps=min(200, steps // 5)
    )
    optimizer = keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9, global_clipnorm=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    model.compile(optimizer, loss)
    print(f"training with {encoding!r}", flush=True)
    source = batches(sentences, random.Random(1))
    for step in range(1, steps + 1):
        inputs, labels, weights = next(source)
        # The mean since the last report.
        mean = model.train_on_batch(inputs, labels, sample_weight=weights)
        if step % 100 == 0:
            print(f"step {step}: loss {mean:.3f}", flush=True)
            model.reset_metrics()
    return model


def evaluate(model: keras.Model, sentences: list[list[int]], width: int) -> tuple[float, float]:
    """Tokens that are wrong, in percent, and loss a token, of 24,000 tokens of one length."""
    rng = random.Random(2)
    wrong = loss = count = 0.0
    for _ in range(10):
        inputs, labels, weights = batch(sentences, rng, width)
        logits = model.predict_on_batch(inputs)
        top = logits.max(-1, keepdims=True)
        log_sum = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
        right = np.take_along_axis(logits, labels[..., None], -1)[..., 0]
        wrong += float(((logits.argmax(-1) != labels) * weights).sum())
        loss += float(((log_sum - right) * weights).sum())
        count += float(weights.sum())
    return 100 * wrong / count, loss / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--trained", nargs="+", choices=ENCODINGS, default=ENCODINGS)
    arguments = parser.parse_args()
    encoded = encode_lines(arguments.sentences)
    random.Random(0).shuffle(encoded)
    held, kept = encoded[:HELD_OUT], encoded[HELD_OUT:]
    bins = ["one sentence", *(f"{a} to {b}" for a, b in pairwise(WIDTHS))]
    rows = ["| trained with | asked with | " + " | ".join(bins) + " |", "| --- " * 6 + "|"]
    for encoding in arguments.trained:
        model = train(encoding, kept, arguments.steps, arguments.dim)
        for asked in ENCODINGS:
            other = build(asked, arguments.dim)
            copy_weights(model, other)
            cells = [evaluate(other, held, width) for width in WIDTHS]
            told = " | ".join(f"{wrong:.2f} % ({loss:.3f})" for wrong, loss in cells)
            rows.append(f'| "{encoding}" | "{asked}" | {told} |')
            print(rows[-1], flush=True)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
