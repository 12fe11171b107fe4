"""Trains a small Transformer to reverse digits, calibrates it on held-out data, and saves it.

    python examples/train_toy.py --output toy.keras

An ordinary Keras model, `compile` and `fit`; only the `CalibrationCallback` is new.
"""

from __future__ import annotations

import argparse

import keras
from toy_task import EOS, MAX_DIGITS, PAD, START, VOCABULARY_SIZE, falling_rate, make_data

from keras_int8nmt import CalibrationCallback, build_transformer


def build() -> keras.Model:
    """A Transformer with one layer on each side."""
    return build_transformer(
        quant=True,
        source_vocabulary_size=VOCABULARY_SIZE,
        num_encoder_layers=1,
        num_decoder_layers=1,
        model_dim=64,
        num_heads=4,
        ffn_dim=128,
        dropout=0.0,
        max_length=MAX_DIGITS + 8,
        pad_id=PAD,
        eos_id=EOS,
        start_id=START,
    )


PAIRS, BATCH_SIZE, RATE = 16_000, 64, 3e-3


def train(epochs: int = 2) -> keras.Model:
    """The trained and calibrated model."""
    keras.utils.set_random_seed(1)
    model = build()
    model.compile(
        keras.optimizers.Adam(falling_rate(RATE, epochs * PAIRS // BATCH_SIZE)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    inputs, labels, weights = make_data(PAIRS, seed=1)
    model.fit(
        inputs, labels, sample_weight=weights, batch_size=BATCH_SIZE, epochs=epochs, verbose=2
    )
    # The calibration sample is data that the model was not trained on.
    inputs, labels, weights = make_data(600, seed=2)
    loss, accuracy = model.evaluate(
        inputs,
        labels,
        sample_weight=weights,
        verbose=0,
        callbacks=[CalibrationCallback()],
    )
    print(f"held-out loss {loss:.4f}, token accuracy {accuracy:.4f}")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", default="toy.keras", help="where the model is saved")
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    train(arguments.epochs).save(arguments.output)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
