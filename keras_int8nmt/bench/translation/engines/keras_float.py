"""The model of plain Keras layers in the layer path's search: caches, one traced function.

Float, and after Keras' own `quantize("int8")`.
"""

from __future__ import annotations

import warnings
from typing import Any

import tensorflow as tf

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines.ours import Translators
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.storage.model_folder import load_folder
from keras_int8nmt.translation.translator import Translator


class KerasFloat:
    """Plain Keras, float32; TensorFlow uses all the cores that it is given.

    Args:
        folder: A folder of `models.build`.
        cores: Cores that the process is pinned to.
        streams: "one", or "case": batches at the same time as in the case.
        xla: Whether encoder and decoder step are compiled by XLA.
    """

    def __init__(self, folder: Any, cores: int, *, streams: str = "one", xla: bool = False) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
        self.streams = streams
        self._translators = Translators()
        self.settings = (
            f"TensorFlow {tf.__version__}, tf.function{' and XLA (jit_compile)' if xla else ''}, "
            f"caches, {cores} threads, streams={'1' if streams == 'one' else 'as in the case'}"
        )
        model = self.load(folder / "float")
        self.model = CompiledSteps(model) if xla else model

    def load(self, folder: Any) -> Any:
        return load_folder(folder)[0]

    def prepare(self, job: Job) -> tuple[Translator, Job]:
        streams = 1 if self.streams == "one" else job.streams
        return self._translators.get(self.model, job, "layers", streams), job

    def run(self, prepared: tuple[Translator, Job]) -> list[list[int]]:
        translator, job = prepared
        return [r.hypotheses[0].tokens for r in translator.translate_ids(job.sentences)]


class KerasQuantized(KerasFloat):
    """What `model.quantize("int8")` of Keras makes of the plain model."""

    def load(self, folder: Any) -> Any:
        model = untied(super().load(folder))
        self.settings += ', quantize("int8"); left float: ' + ", ".join(quantize(model))
        return model


class CompiledSteps:
    """A model whose encoder and decoder step are compiled by XLA; the search around is not.

    XLA compiles for fixed shapes, and the search grows its caches and drops ended sentences, so
    there is no compiling it as a whole.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.encode = tf.function(model.encode, jit_compile=True, autograph=False)
        self.decode_step = tf.function(model.decode_step, jit_compile=True, autograph=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def untied(model: Transformer) -> Transformer:
    """The same model with an output projection of its own, a `Dense`, which Keras can quantize.

    A tied one reads the table of the embedding, which would be codes without their scales.
    """
    if model.output_projection is not None:
        return model
    tying = "inputs" if model.source_embedding is model.target_embedding else "none"
    copy = Transformer.from_config({**model.get_config(), "tie_embeddings": tying})
    paths = {w.path.partition("/")[2]: w for w in copy.trainable_weights}
    table = model.target_embedding.embeddings
    for weight in model.trainable_weights:
        path = weight.path.partition("/")[2]
        if path in paths:
            paths[path].assign(weight)
    if model.source_embedding is not model.target_embedding:
        copy.target_embedding.embeddings.assign(table)
    copy.output_projection.kernel.assign(tf.transpose(tf.convert_to_tensor(table)))
    if model.output_bias is not None:
        copy.output_projection.bias.assign(model.output_bias)
    return copy


def quantize(model: Any) -> list[str]:
    """Quantizes by Keras; the classes of layers with weights, or products, that stay float."""
    with warnings.catch_warnings():
        # It warns of each layer that has no int8 form.
        warnings.simplefilter("ignore")
        model.quantize("int8")
    left = {
        type(layer).__name__
        for layer in model._flatten_layers()
        if layer.weights and not any(True for _ in layer._layers) and not _is_quantized(layer)
    }
    # Products of two activations, which have no weights.
    return [*sorted(left), "QK^T and AV of MultiHeadAttention"]


def _is_quantized(layer: Any) -> bool:
    return getattr(layer, "quantization_mode", None) == "int8"
