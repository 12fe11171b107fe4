"""Calibrates a float model, converts it to INT8 and shows what became of it.

    python examples/quantize.py --model toy.keras --output toy-int8.keras --mode independent

The model is the one that `train_toy.py` saved.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
from toy_task import make_data

from keras_int8nmt import CalibrationCallback, convert
from keras_int8nmt.calibration import DEFAULT_MODE, MODES


def quantize(model: keras.Model, mode: str) -> keras.Model:
    """The INT8 model: thresholds from one sample, the report's output SQNR from another."""
    sample, _, _ = make_data(600, seed=3)
    # `predict` needs no compiled model: this is how a model from `load_marian` is calibrated.
    model.predict(sample, verbose=0, callbacks=[CalibrationCallback(mode=mode)])
    unseen, _, _ = make_data(64, seed=4)
    return convert(model, sample=unseen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="toy.keras", help="a model of train_toy.py")
    parser.add_argument("--output", default="toy-int8.keras", help="where the model is saved")
    parser.add_argument(
        "--mode",
        default=DEFAULT_MODE,
        choices=MODES,
        help="how thresholds are chosen",
    )
    arguments = parser.parse_args()
    model = keras.models.load_model(arguments.model)
    int8 = quantize(model, arguments.mode)
    print(int8.conversion_report.to_text())
    inputs, labels, weights = make_data(200, seed=5)
    for name, each in (("float", model), ("INT8", int8)):
        right = (np.argmax(each.predict(inputs, verbose=0), axis=-1) == labels) * weights
        print(f"{name} token accuracy {right.sum() / weights.sum():.4f}")
    int8.save(arguments.output)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
