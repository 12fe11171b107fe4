"""Trains a calibrated model as INT8, thresholds included, and converts it.

    python examples/fine_tune.py --model toy.keras --output toy-int8.keras --mode naive

The model is the one that `train_toy.py` saved. Quantization-aware training, see `docs/qat.md`:
`prepare_training`, then `compile` and `fit` as ever, then `convert`.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
from toy_task import falling_rate, make_data

from keras_int8nmt import CalibrationCallback, convert, prepare_training
from keras_int8nmt.calibration import DEFAULT_MODE, observers

PAIRS, BATCH_SIZE, RATE = 8_000, 64, 3e-4


def loss_of(model: keras.Model) -> float:
    """Cross-entropy on data that no training saw."""
    inputs, labels, weights = make_data(400, seed=5)
    logits = model.predict(inputs, verbose=0)
    losses = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    return float(np.sum(losses(labels, logits) * weights) / weights.sum())


def fine_tune(model: keras.Model, epochs: int) -> None:
    """Trains the model as INT8 on the data it was trained on, with a smaller learning rate."""
    prepare_training(model, threshold_rate=10.0)
    model.compile(
        keras.optimizers.Adam(falling_rate(RATE, epochs * PAIRS // BATCH_SIZE)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    inputs, labels, weights = make_data(PAIRS, seed=1)
    model.fit(
        inputs, labels, sample_weight=weights, batch_size=BATCH_SIZE, epochs=epochs, verbose=2
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="toy.keras", help="a model of train_toy.py")
    parser.add_argument("--output", default="toy-int8.keras", help="where the INT8 model is saved")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument(
        "--mode",
        default=DEFAULT_MODE,
        choices=["naive", "symmetric", "independent", "conjugate"],
        help="how the thresholds are chosen that training begins with",
    )
    arguments = parser.parse_args()
    model = keras.models.load_model(arguments.model)
    sample, _, _ = make_data(600, seed=3)
    model.predict(sample, verbose=0, callbacks=[CalibrationCallback(mode=arguments.mode)])
    before = {path: o.thresholds() for path, o in observers(model) if o.is_calibrated}
    print(f"INT8 loss after calibration {loss_of(convert(model)):.5f}")
    fine_tune(model, arguments.epochs)
    int8 = convert(model)
    print(f"INT8 loss after training {loss_of(int8):.5f}")
    after = {path: o.thresholds() for path, o in observers(model) if o.is_calibrated}
    for path, (low, high) in after.items():
        print(f"{path}: {before[path][0]:.3f} {before[path][1]:.3f} -> {low:.3f} {high:.3f}")
    int8.save(arguments.output)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
