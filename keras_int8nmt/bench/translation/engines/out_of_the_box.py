"""Float "out of the box": greedy search as Keras' own tutorials write it, with no caches."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines import UnavailableError
from keras_int8nmt.runtime.batching import make_batches, pad_batch
from keras_int8nmt.storage.model_folder import load_folder


class OutOfTheBox:
    """Calls the whole model, encoder too, on the tokens so far for each token that follows.

    `predict_on_batch` of the plain Keras model, so each call is one traced function; no keys and
    values are kept, and the logits of all positions are computed.

    Args:
        folder: A folder of `models.build`.
        cores: Threads of TensorFlow.
    """

    def __init__(self, folder: Any, cores: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
        self.model, _, _ = load_folder(folder / "float")
        self.settings = (
            f"TensorFlow {tf.__version__}, {cores} threads; predict_on_batch of the whole model "
            "for each token, no caches"
        )

    def prepare(self, job: Job) -> Job:
        if job.beam_size != 1:
            raise UnavailableError("it searches greedily")
        return job

    def run(self, prepared: Job) -> list[list[int]]:
        job, model = prepared, self.model
        results: list[list[int]] = [[]] * len(job.sentences)
        for batch in make_batches([len(s) for s in job.sentences], job.batch_size):
            source = pad_batch([job.sentences[i] for i in batch], model.pad_id)
            for i, tokens in zip(batch, self._greedy(source, job), strict=True):
                results[i] = tokens
        return results

    def _greedy(self, source: np.ndarray, job: Job) -> list[list[int]]:
        model = self.model
        target = np.full((len(source), 1), model.start_id, np.int32)
        going_on = np.ones(len(source), bool)
        for length in range(1, job.max_length + 1):
            logits = model.predict_on_batch({"source": source, "target": target})[:, -1]
            logits[:, model.pad_id] = -np.inf
            if length < job.min_length:
                logits[:, model.eos_id] = -np.inf
            new = logits.argmax(axis=-1).astype(np.int32)
            if length == job.max_length:
                new[:] = model.eos_id
            target = np.concatenate([target, np.where(going_on, new, model.pad_id)[:, None]], 1)
            going_on &= new != model.eos_id
            if not going_on.any():
                break
        return [[int(i) for i in row if i != model.pad_id] for row in target[:, 1:]]
