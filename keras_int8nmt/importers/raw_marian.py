"""`load_raw_marian`: a model as Marian itself writes it, as a `Transformer`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.importers.raw_marian_model import (
    OpenedModel,
    not_done_message,
    open_model,
    read_search,
    unknown_message,
)
from keras_int8nmt.importers.raw_marian_options import OUTPUT_BIAS, has_output_bias
from keras_int8nmt.importers.tensors import Tensors
from keras_int8nmt.models.build import build_on_tables
from keras_int8nmt.models.transformer import Transformer

# The logit of padding, which Marian's softmax does not have: e to it is 0 in float32.
_NEVER = -1e4


def load_raw_marian(path: str | os.PathLike[str], quant: bool = True) -> Transformer:
    """Loads a translation model as Marian has trained it, and OPUS-MT publishes it.

    Read are the `.npz` with its `special:model.yml`, the vocabularies (`.yml` or `.spm`) and
    `decoder.yml`. Marian itself is not needed. Positions are those that Marian trains with
    (`position_encoding="marian"`), and so is the epsilon of LayerNorm: it is the model that was
    trained, of which a conversion to another program's format may compute another.

    Args:
        path: The folder, the zip archive, or one `.npz` of several in a folder.
        quant: As in `build_transformer`: whether the model can be calibrated and converted.

    Returns:
        A `Transformer` in float32, not compiled. Its logits are Marian's; its vocabularies have one
        id more, that of padding and of the start, whose embeddings are zeros and which is never
        produced. Its `search_defaults` are what `decoder.yml` asks of a search, as far as ours can
        do it; the rest is told in a warning.

    Raises:
        MarianFormatError: naming what is missing or damaged, the missing, unexpected or misshapen
            tensor, or the option and its value that is not supported.
        TokenizerError: naming the vocabulary that is none.

    Example:

        >>> model = load_raw_marian("opus-2020-02-26.zip")
        >>> model.predict(batches, callbacks=[CalibrationCallback()])
    """
    opened = open_model(Path(path))
    search = read_search(opened.files, opened.vocabularies)
    for message in (not_done_message(opened.files, search), unknown_message(opened)):
        if message is not None:
            warnings.warn(message, stacklevel=2)
    tensors, settings = opened.tensors, {**opened.settings, "name": "marian"}
    model = build_on_tables(quant, _take_tables(opened), settings)
    model.search_defaults = search.defaults
    _load_output_bias(model, opened)
    pre_norm = settings["norm"] == "pre"
    for stack, blocks, names in (
        ("encoder", model.encoder_blocks, {"attention": "self"}),
        ("decoder", model.decoder_blocks, {"self_attention": "self", "cross_attention": "context"}),
    ):
        for i, block in enumerate(blocks, start=1):
            _load_block(block, f"{stack}_l{i}", names, pre_norm, tensors)
        if pre_norm:
            _load_norm(getattr(model, f"{stack}_norm"), f"{stack}_top", "", tensors)
    tensors.check_all_taken()
    return model


def _take_tables(opened: OpenedModel) -> dict[str, np.ndarray]:
    """Embedding tables and output projection, with zeros for padding."""
    model, tensors, dim = opened.model, opened.tensors, opened.settings["model_dim"]

    def padded(table: np.ndarray) -> np.ndarray:
        return with_row(table, opened.pad_id, 0.0)

    def take(name: str, side: str) -> np.ndarray:
        return padded(tensors.take(name, (model.rows[side], dim)))

    tables = {"source_embedding": take(model.tables["source"], "source")}
    if model.tables["target"] != model.tables["source"]:
        tables["target_embedding"] = take(model.tables["target"], "target")
    if model.output is not None and model.transposed:
        kernel = tensors.take(model.output, (dim, model.rows["target"]))
        tables["output_projection"] = padded(kernel.T).T
    elif model.output is not None:
        tables["output_projection"] = take(model.output, "target").T
    return tables


def with_row(rows: np.ndarray, at: int, value: float) -> np.ndarray:
    """A copy of `rows` with one more, all of one value, in the place `at`."""
    more = np.empty((len(rows) + 1, *rows.shape[1:]), np.float32)
    more[:at], more[at], more[at + 1 :] = rows[:at], value, rows[at:]
    return more


def _load_output_bias(model: Transformer, opened: OpenedModel) -> None:
    count = opened.model.rows["target"]
    bias = np.zeros(count, np.float32)
    if has_output_bias(opened.description):
        bias = _take_row(opened.tensors, OUTPUT_BIAS, count)
    projection = model.output_projection
    weight = model.output_bias if projection is None else projection.bias
    weight.assign(with_row(bias, opened.pad_id, _NEVER))


def _take_row(tensors: Tensors, name: str, size: int) -> np.ndarray:
    """A vector, which Marian writes as a matrix of one row."""
    if name in tensors and tensors.shape(name) == (size,):
        return tensors.take(name, (size,))
    return tensors.take(name, (1, size))[0]


def _load_block(
    block: Any, prefix: str, names: dict[str, str], pre_norm: bool, tensors: Tensors
) -> None:
    suffix = "_pre" if pre_norm else ""
    for name, theirs in names.items():
        _load_attention(getattr(block, name), f"{prefix}_{theirs}", tensors)
        norm = getattr(block, name + "_norm")
        _load_norm(norm, f"{prefix}_{theirs}_Wo", suffix, tensors)
    for i, layer in enumerate((block.ffn_in, block.ffn_out), start=1):
        rows, columns = layer.kernel.shape
        layer.kernel.assign(tensors.take(f"{prefix}_ffn_W{i}", (rows, columns)))
        layer.bias.assign(_take_row(tensors, f"{prefix}_ffn_b{i}", columns))
    _load_norm(block.ffn_norm, f"{prefix}_ffn_ffn", suffix, tensors)


def _load_attention(attention: Any, prefix: str, tensors: Tensors) -> None:
    dim = attention.num_heads * attention.key_dim
    for name, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o")):
        dense = getattr(attention, f"{name}_dense")
        # Keras splits the heads: [d, heads, dim] inwards, [heads, dim, d] outwards.
        kernel = tensors.take(f"{prefix}_W{letter}", (dim, dim))
        dense.kernel.assign(kernel.reshape(dense.kernel.shape))
        bias = _take_row(tensors, f"{prefix}_b{letter}", dim)
        dense.bias.assign(bias.reshape(dense.bias.shape))


def _load_norm(norm: Any, prefix: str, suffix: str, tensors: Tensors) -> None:
    (size,) = norm.gamma.shape
    norm.gamma.assign(_take_row(tensors, f"{prefix}_ln_scale{suffix}", size))
    norm.beta.assign(_take_row(tensors, f"{prefix}_ln_bias{suffix}", size))
