"""The model in Keras: in float, in ours, and with Keras' own quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt.bench.peers import training
from keras_int8nmt.bench.peers.calibration import read_calibration
from keras_int8nmt.bench.peers.decoding import PAD, translate
from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.conversion.converter import convert
from keras_int8nmt.conversion.quantize import quantize_model
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.runtime.batching import make_batches, pad_batch

_BATCH = 32


class KerasSteps:
    """A model's `encode` and `next_logits`, each traced once for all batches and lengths."""

    def __init__(self, model: Any) -> None:
        ids = tf.TensorSpec((None, None), tf.int32)
        states = tf.TensorSpec((None, None, model.sizes["width"]), tf.float32)
        self._encode = tf.function(model.encode, [ids], autograph=False)
        self._next = tf.function(model.next_logits, [states, ids, ids], autograph=False)

    def encode(self, source: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._encode(tf.constant(source)).numpy()
        return found

    def next_logits(self, states: np.ndarray, source: np.ndarray, prefix: np.ndarray) -> np.ndarray:
        given = (tf.constant(each) for each in (states, source, prefix))
        found: np.ndarray = self._next(*given).numpy()
        return found


class KerasEngine:
    """A worker's engine: the float model.

    Args:
        folder: Of the trained model.
        cores: Threads.
        peer: Name of the row, and of the folder of its files.
    """

    def __init__(self, folder: Path, cores: int, peer: str) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        ops.set_num_threads(cores)
        self.settings = f"Keras {keras.__version__}, TensorFlow {tf.__version__}, tf.function"
        self.folder = folder
        files = folder / peer
        files.mkdir(exist_ok=True)
        model = self.made(training.load(folder))
        model.save_weights(files / "model.weights.h5")
        self._steps = KerasSteps(model)

    def made(self, model: Any) -> Any:
        """What becomes of the float model."""
        return model

    def prepare(self, job: Job) -> Job:
        return job

    def run(self, prepared: Job) -> list[list[int]]:
        return translate(self._steps, prepared)


class KerasInt8(KerasEngine):
    """Keras' `quantize("int8")`: weights in int8 and activations scaled as they come."""

    def made(self, model: Any) -> Any:
        model.quantize("int8")
        return model


class Ours(KerasEngine):
    """`quantize_model`, a pass with `CalibrationCallback`, `convert`."""

    def made(self, model: Any) -> Any:
        quant = quantize_model(model)
        quant.predict(CalibrationBatches(self.folder), verbose=0, callbacks=[CalibrationCallback()])
        return self._told(convert(quant))

    def _told(self, model: Any) -> Any:
        rows = model.conversion_report.rows
        floats = [row for row in rows if row.precision != "int8"]
        self.settings += f"; {len(rows) - len(floats)} products in INT8, {len(floats)} in float"
        (self.folder / "report.txt").write_text(model.conversion_report.to_text() + "\n", "utf-8")
        return model


class OursDynamic(Ours):
    """The same without calibration: activations are scaled as they come."""

    def made(self, model: Any) -> Any:
        quant = quantize_model(model)
        # A first call tells that the table of embeddings is multiplied by as well.
        zeros = np.zeros((1, 2), np.int32)
        quant({"source": zeros, "target": zeros})
        return self._told(convert(quant, activations="dynamic"))


class CalibrationBatches(keras.utils.PyDataset):
    """The calibration pairs in batches of like length; the decoder gets what was right before."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._sources, self._targets = read_calibration(folder)
        lengths = [max(map(len, pair)) for pair in zip(self._sources, self._targets, strict=True)]
        self._batches = make_batches(lengths, _BATCH)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        chosen = self._batches[index]
        fed = [[PAD, *self._targets[i][:-1]] for i in chosen]
        source = pad_batch([self._sources[i] for i in chosen], PAD)
        return ({"source": source, "target": pad_batch(fed, PAD)},)
