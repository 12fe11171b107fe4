"""The model that is measured: trained once on Multi30k, chosen on its validation set, and kept.

    python -m keras_int8nmt.bench.peers.training FOLDER [--minutes 30] [--from-nothing]

It goes on from the package's own model, unless it is to learn all from this corpus. What was
interrupted goes on from its last checkpoint when the command is given again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.accuracy.corpora import CORPORA, CorpusFiles, find_corpus
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.translation.sentences import shared_folder
from keras_int8nmt.files.lines import read_pairs
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer

CORPUS = "multi30k-ende"
MINUTES = 30.0
WEIGHTS, CARD, TOKENIZER = "model.weights.h5", "model.json", "tokenizer"
# What an interrupted training goes on from.
_BACKUP, _HISTORY = "backup", "history.json"
_EPOCHS = 20
# A checkpoint is written, and validation looked at, so often an epoch.
_PARTS = 12
# The highest rate, and the step that has it.
_RATE, _GENTLE_RATE = (1.2e-3, 400), (3e-4, 40)


def training_pairs() -> tuple[list[str], list[str]]:
    """The sentences to train on.

    Raises:
        BenchError: when the corpus is not there; the message names its folder.
    """
    find_corpus(CORPUS)
    corpus = CORPORA[CORPUS]
    assert isinstance(corpus, CorpusFiles)
    stem = shared_folder() / corpus.folder / corpus.parts[0]
    return read_pairs(f"{stem}.{corpus.source}", f"{stem}.{corpus.target}")


def train(
    folder: Path,
    minutes: float = MINUTES,
    pairs: tuple[list[str], list[str]] | None = None,
    valid: tuple[list[str], list[str]] | None = None,
    **sizes: Any,
) -> None:
    """Trains a model, and writes it with its tokenizer and a card into `folder`.

    Args:
        folder: Made where it is missing. Checkpoints are kept in it, to go on from.
        minutes: No epoch begins after so long, counted anew by each call.
        pairs, valid: Sentences and translations; by default those of Multi30k, English to German.
        sizes: Of a model that learns all from the corpus, as in `Sizes`, and its tokenizer as well;
            none: it begins with the built-in model, whose sizes and tokenizer it has.
    """
    import keras

    from keras_int8nmt.bench.peers.model import Sizes, build
    from keras_int8nmt.bench.peers.start import begun_model, begun_tokenizer
    from keras_int8nmt.training.dataset import parallel_dataset
    from keras_int8nmt.training.loss import SmoothedCrossEntropy
    from keras_int8nmt.training.schedule import InverseSquareRoot
    from keras_int8nmt.training.vocabulary import train_sentencepiece

    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    pairs = pairs or training_pairs()
    if valid is None:
        valid = find_corpus(CORPUS).valid(None)[:2]
    if sizes:
        chosen = Sizes(**sizes)
        tokenizer = train_sentencepiece(
            *pairs, vocabulary_size=chosen.vocabulary, model_type="bpe", character_coverage=1.0
        )
        model = build(chosen)
    else:
        tokenizer = begun_tokenizer()
        model = begun_model(Sizes.length, Sizes.dropout)
    common: dict[str, Any] = {"batch_tokens": 1024, "max_length": model.sizes["length"]}
    training = parallel_dataset(*pairs, tokenizer, seed=2, **common)
    validation = parallel_dataset(*valid, tokenizer, shuffle=False, **common)
    optimizer = keras.optimizers.Adam(
        InverseSquareRoot(*(_RATE if sizes else _GENTLE_RATE)),
        beta_2=0.98,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=0.98,
    )
    model.compile(optimizer, SmoothedCrossEntropy(), jit_compile=False)
    best = folder / "best.weights.h5"

    class StopAfter(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            history.append({name: round(float(value), 4) for name, value in logs.items()})
            history_file.write_text(json.dumps(history), encoding="utf-8")
            if time.monotonic() > began + 60 * minutes:
                self.model.stop_training = True

    history_file = folder / _HISTORY
    history: list[dict[str, float]] = (
        json.loads(history_file.read_text(encoding="utf-8")) if history_file.is_file() else []
    )
    steps = max(1, len(training) // _PARTS)
    model.fit(
        training.as_tf_data().repeat(),
        validation_data=validation,
        epochs=_PARTS * _EPOCHS,
        steps_per_epoch=steps,
        # The data set shuffles.
        shuffle=False,
        verbose=2,
        callbacks=[
            keras.callbacks.BackupAndRestore(folder / _BACKUP, delete_checkpoint=False),
            # Those after it see averaged weights.
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            keras.callbacks.ModelCheckpoint(
                str(best), monitor="val_loss", save_best_only=True, save_weights_only=True
            ),
            StopAfter(),
        ],
    )
    model.load_weights(best)
    # Made of the weights of before.
    for made in folder.iterdir():
        if made.is_dir() and made.name not in (_BACKUP, TOKENIZER):
            shutil.rmtree(made)
    told = {
        "begun_with": "nothing" if sizes else "the built-in model",
        "trained_on": f"{len(pairs[0])} pairs of {CORPUS}",
        "parts_of_an_epoch": _PARTS,
        "history": history,
        "training_cpu_seconds": round(time.process_time()),
    }
    save(folder, model, tokenizer, told)


def save(folder: Path, model: Any, tokenizer: SentencePieceTokenizer, told: dict[str, Any]) -> None:
    """Writes a model, its tokenizer, and a card with its sizes and what else is `told` of it."""
    (folder / TOKENIZER).mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / TOKENIZER)
    model.save_weights(folder / WEIGHTS)
    card = {"sizes": model.sizes, "parameters": model.count_params(), **told}
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def is_trained(folder: Path) -> bool:
    return (folder / CARD).is_file()


def read_card(folder: Path) -> dict[str, Any]:
    """What `train` wrote of the model.

    Raises:
        BenchError: when there is none.
    """
    if not is_trained(folder):
        raise BenchError(f"There is no trained model in {str(folder)!r}.")
    card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return card


def load(folder: Path) -> Any:
    """The trained model."""
    from keras_int8nmt.bench.peers.model import Sizes, build

    model = build(Sizes(**read_card(folder)["sizes"]))
    model.load_weights(folder / WEIGHTS)
    return model


def load_tokenizer(folder: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer.load(folder / TOKENIZER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--from-nothing", action="store_true")
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    sizes: dict[str, Any] = {"vocabulary": 4000} if arguments.from_nothing else {}
    train(arguments.folder, arguments.minutes, **sizes)


if __name__ == "__main__":
    main()
