"""Trains a small pre-norm Transformer on Multi30k and saves it as a model folder.

    python examples/train_multi30k.py --data multi30k --output multi30k-en-fr
    keras-int8nmt calibrate multi30k-en-fr --data multi30k/train.en -o calibrated

Real sentences, a tokenizer of its own, label smoothing, warm-up, averaged weights: all plain Keras.
The corpus (29,000 pairs; train.en, train.fr, val.en, val.fr) is `data/task1/raw` of
https://github.com/multi30k/dataset. Keras on JAX trains the same model (KERAS_BACKEND=jax); BLEU
is told on TensorFlow.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import keras

from keras_int8nmt import (
    Tokenizer,
    build_transformer,
    copy_weights,
    parallel_dataset,
    save_folder,
    train_sentencepiece,
)
from keras_int8nmt.files.lines import read_pairs
from keras_int8nmt.training import ParallelDataset, SmoothedCrossEntropy

DATA = Path(os.environ.get("KERAS_INT8NMT_SHARED", "../shared/data")) / "multi30k"


def build(vocabulary_size: int, quant: bool, dropout: float = 0.2) -> keras.Model:
    """3 + 3 layers, width 128, pre-norm, swish; 1.9 million parameters with 4,000 pieces."""
    return build_transformer(
        quant=quant,
        source_vocabulary_size=vocabulary_size,
        num_encoder_layers=3,
        num_decoder_layers=3,
        model_dim=128,
        num_heads=4,
        ffn_dim=512,
        activation="swish",
        norm="pre",
        position_encoding="interleaved",
        dropout=dropout,
    )


class StopAfter(keras.callbacks.Callback):
    """Ends training after the epoch in which the time is up."""

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self.end = time.monotonic() + 60 * minutes

    def on_epoch_end(self, epoch, logs=None) -> None:
        if time.monotonic() > self.end:
            self.model.stop_training = True


def train(
    model: keras.Model,
    training: ParallelDataset,
    validation: ParallelDataset,
    arguments: argparse.Namespace,
) -> None:
    """Fits the model; its weights are then the averaged ones of the best epoch on `validation`."""
    steps = arguments.steps or len(training)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, arguments.epochs * steps - arguments.warmup),
        alpha=0.05,
        warmup_target=arguments.learning_rate,
        warmup_steps=arguments.warmup,
    )
    optimizer = keras.optimizers.Adam(
        rate,
        beta_2=0.98,
        epsilon=1e-9,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=arguments.ema,
    )
    model.compile(optimizer, SmoothedCrossEntropy(), jit_compile=True if arguments.jit else "auto")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(arguments.checkpoint or folder)
        best = str(kept / "best.weights.h5")
        model.fit(
            training,
            validation_data=validation,
            epochs=arguments.epochs,
            steps_per_epoch=steps,
            verbose=2,
            shuffle=False,  # each epoch of `training` has an order of its own
            callbacks=[
                # Before weights are swapped: to go on from, not to translate with.
                keras.callbacks.BackupAndRestore(kept / "backup", delete_checkpoint=False),
                # Those after it see averaged weights.
                keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
                keras.callbacks.ModelCheckpoint(
                    best, monitor="val_loss", save_best_only=True, save_weights_only=True
                ),
                StopAfter(arguments.minutes),
            ],
        )
        model.load_weights(best)


def run(arguments: argparse.Namespace) -> None:
    """Trains, saves and tells BLEU on the validation set."""
    keras.utils.set_random_seed(1)
    sources, targets = (side[: arguments.pairs] for side in read_corpus(arguments, "train"))
    valid = read_corpus(arguments, "val")
    tokenizer = train_sentencepiece(
        sources,
        targets,
        vocabulary_size=arguments.vocabulary,
        model_type="bpe",
        character_coverage=1.0,
    )
    model = build(arguments.vocabulary, quant=False, dropout=arguments.dropout)
    common = {"model": model, "batch_tokens": arguments.batch_tokens, "max_length": 48}
    training = parallel_dataset(sources, targets, tokenizer, seed=2, **common)
    validation = parallel_dataset(*valid, tokenizer, shuffle=False, **common)
    print(f"{model.count_params()} parameters, {len(training)} batches an epoch", flush=True)
    train(model, training, validation, arguments)

    # Trained without observers, which is faster; saved with them, so that it can be calibrated.
    saved = build(arguments.vocabulary, quant=True, dropout=arguments.dropout)
    copy_weights(model, saved)
    name = f"Multi30k {arguments.source}-{arguments.target}, {len(sources)} pairs"
    save_folder(saved, arguments.output, tokenizer, {"trained_on": name}, force=arguments.force)
    print(f"saved {arguments.output}")
    if keras.config.backend() == "tensorflow":
        print_bleu(model, tokenizer, valid)


def read_corpus(arguments: argparse.Namespace, part: str) -> tuple[list[str], list[str]]:
    """Both sides of `train` or `val`, as many lines each."""
    languages = arguments.source, arguments.target
    return read_pairs(*(str(arguments.data / f"{part}.{language}") for language in languages))


def print_bleu(
    model: keras.Model, tokenizer: Tokenizer, pairs: tuple[list[str], list[str]]
) -> None:
    """sacreBLEU of the float model, beam 4."""
    from keras_int8nmt import Translator
    from keras_int8nmt.evaluation import evaluate

    figures, texts = evaluate(Translator(model, tokenizer), *pairs)
    print(f"BLEU on the validation set {figures.bleu:.2f}, chrF {figures.chrf:.2f}")
    print(f"{pairs[0][0]}  ->  {texts[0]}")


def parse(options: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the corpus")
    parser.add_argument("--source", default="en", help="language of the sources")
    parser.add_argument("--target", default="fr", help="language of the translations")
    parser.add_argument("--output", default="multi30k-model", help="folder of the trained model")
    parser.add_argument("--force", action="store_true", help="replace the folder")
    parser.add_argument("--vocabulary", type=int, default=4000, help="joint pieces")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=120.0, help="no epoch begins after this")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="after warm-up")
    parser.add_argument("--warmup", type=int, default=800, help="steps")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--ema", type=float, default=0.998, help="momentum of averaged weights")
    parser.add_argument("--pairs", type=int, help="of the training corpus; default: all")
    parser.add_argument(
        "--steps", type=int, help="of an epoch, after which the state is kept; default: all"
    )
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="keep the state of training there, and go on from it"
    )
    parser.add_argument("--jit", action="store_true", help="compile with XLA on TensorFlow too")
    return parser.parse_args(options)


def main() -> None:
    arguments = parse()
    needed = [
        arguments.data / f"{part}.{language}"
        for part in ("train", "val")
        for language in (arguments.source, arguments.target)
    ]
    missing = [path for path in needed if not path.is_file()]
    if missing:
        print(f"skipped: there is no {missing[0]}; --data names the folder of the corpus")
        return
    run(arguments)


if __name__ == "__main__":
    main()
