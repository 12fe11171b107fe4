"""The names that the TensorFlow classes of `transformers` give the weights of a Marian model.

Keras saves a weight below the name of its layer and of all that the layer is in, such as
`model/tf_marian_mt_model/model/encoder/layers.0/self_attn/k_proj/kernel:0`, and a Dense has its
kernel the other way round than PyTorch. The shared table lies beside the model, below
`model.shared`, with one more or less of these names in different releases.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keras_int8nmt.importers.tensors import Entry

BIAS = "final_logits_bias"
_SHARED = "model.shared.weight"
_WORDS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}


def pytorch_entries(
    entries: Mapping[str, Entry], file: str, error: type[Exception]
) -> dict[str, Entry]:
    """The same tensors by the names and in the order of axes that PyTorch has.

    Args:
        entries: By their paths in the file.
        file: Its name, for messages.
        error: Raised where two are one tensor.
    """
    renamed: dict[str, Entry] = {}
    for path, entry in entries.items():
        name, is_kernel = _pytorch_name(path)
        if name in renamed:
            raise error(f"{file} has tensor {name!r} twice, at last as {path!r}.")
        renamed[name] = _transposed(entry) if is_kernel else entry
    return renamed


def _pytorch_name(path: str) -> tuple[str, bool]:
    *parents, last = path.split("/")
    last = last.partition(":")[0]
    if last == BIAS:
        return BIAS, False
    if "model.shared" in parents or parents[-1:] == ["shared"]:
        return _SHARED, False
    for stack in ("encoder", "decoder"):
        if stack in parents:
            inner = parents[parents.index(stack) :]
            return ".".join(["model", *inner, _WORDS.get(last, last)]), last == "kernel"
    return path, False


def _transposed(entry: Entry) -> Entry:
    def read() -> np.ndarray:
        return entry.read().T

    return Entry(entry.shape[::-1], entry.dtype, read)
