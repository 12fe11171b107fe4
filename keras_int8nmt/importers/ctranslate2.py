"""`load_ctranslate2`: a folder of CTranslate2 as a `Transformer`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.importers.ct2_settings import (
    CTranslate2Model,
    embedding_names,
    lacking,
    open_model,
)
from keras_int8nmt.importers.tensors import Tensors
from keras_int8nmt.models.build import build_on_tables
from keras_int8nmt.models.transformer import Transformer

# The logit of padding, which CTranslate2's softmax does not have: e to it is 0 in float32.
_NEVER = -1e4


def load_ctranslate2(folder: str | os.PathLike[str], quant: bool = True) -> Transformer:
    """Loads a translation model of CTranslate2.

    Read are `model.bin`, of versions 2 to 6 of its layout, `config.json`, and the vocabularies, of
    which each is `.json` or `.txt`. Weights may be float32, float16, bfloat16, int16 or int8; all
    become float32, those of integers by their scales, as CTranslate2 has them with
    `compute_type="float32"`. CTranslate2 itself is not needed.

    Args:
        folder: The folder.
        quant: As in `build_transformer`: whether the model can be calibrated and converted.

    Returns:
        A `Transformer` in float32, not compiled. Its logits are those of CTranslate2. Where there
        is no token for padding, or the decoder begins with zeros, its vocabularies have one id more
        than the file's.

    Raises:
        CTranslate2FormatError: naming the file that is missing or damaged, the missing, unexpected
            or misshapen tensor, or what of the model is not supported.

    Example:

        >>> model = load_ctranslate2("en-de-ctranslate2")
        >>> model.predict(batches, callbacks=[CalibrationCallback()])
    """
    opened = open_model(Path(folder))
    if lines := lacking(opened):
        warnings.warn(
            f"In {str(folder)!r} {' and '.join(lines)}: a translation with one of the others is an "
            "error of its line.",
            stacklevel=2,
        )
    settings, tensors = opened.settings, opened.tensors
    model = build_on_tables(quant, _take_tables(opened), settings)
    bias = _bias(tensors, "decoder/projection", opened.rows["target"])
    if settings["output_bias"]:
        bias = np.pad(bias, (0, model.target_vocabulary_size - len(bias)), constant_values=_NEVER)
        output = model.output_projection
        (model.output_bias if output is None else output.bias).assign(bias)
    for stack, blocks, names in (
        ("encoder", model.encoder_blocks, {"attention": "self_attention"}),
        (
            "decoder",
            model.decoder_blocks,
            {"self_attention": "self_attention", "cross_attention": "attention"},
        ),
    ):
        for i, block in enumerate(blocks):
            _load_block(block, f"{stack}/layer_{i}", names, tensors)
        last = getattr(model, f"{stack}_norm")
        if last is not None:
            _load_norm(last, stack, tensors)
    tensors.check_all_taken()
    return model


def _take_tables(opened: CTranslate2Model) -> dict[str, np.ndarray]:
    """The tables that the model has, with a row of zeros for each id that the file has not."""
    settings, rows, tensors = opened.settings, opened.rows, opened.tensors
    tying, names = settings["tie_embeddings"], embedding_names(opened.file)

    def take(name: str, side: str) -> np.ndarray:
        table = tensors.take(name, (rows[side], settings["model_dim"]))
        more = settings[f"{side}_vocabulary_size"] - len(table)
        return np.pad(table, ((0, more), (0, 0))) if more else table

    tables = {"source_embedding": take(names["source"], "source")}
    if tying in ("all", "inputs"):
        # Other names of the same.
        tensors.drop(names["target"])
    else:
        tables["target_embedding"] = take(names["target"], "target")
    if tying in ("all", "output"):
        tensors.drop(names["projection"])
    else:
        tables["output_projection"] = take(names["projection"], "target").T
    return tables


def _bias(tensors: Tensors, name: str, size: int) -> np.ndarray:
    """A bias; one that is not there is zeros."""
    name += "/bias"
    return tensors.take(name, (size,)) if name in tensors else np.zeros(size, np.float32)


def _load_block(block: Any, scope: str, names: dict[str, str], tensors: Tensors) -> None:
    for name, theirs in names.items():
        attention = getattr(block, name)
        query, key, value = attention.query_dense, attention.key_dense, attention.value_dense
        place = f"{scope}/{theirs}"
        if theirs == "self_attention":
            groups = [(query, key, value), (attention.output_dense,)]
        else:
            groups = [(query,), (key, value), (attention.output_dense,)]
        for i, group in enumerate(groups):
            _load_projections(group, attention, f"{place}/linear_{i}", tensors)
        _load_norm(getattr(block, name + "_norm"), place, tensors)
    for i, dense in enumerate((block.ffn_in, block.ffn_out)):
        rows, columns = dense.kernel.shape
        place = f"{scope}/ffn/linear_{i}"
        dense.kernel.assign(tensors.take(f"{place}/weight", (columns, rows)).T)
        dense.bias.assign(_bias(tensors, place, columns))
    _load_norm(block.ffn_norm, f"{scope}/ffn", tensors)


def _load_projections(group: tuple[Any, ...], attention: Any, place: str, tensors: Tensors) -> None:
    """Projections whose weights, `[out, in]`, lie one below the other."""
    dim = attention.num_heads * attention.key_dim
    weight = tensors.take(f"{place}/weight", (len(group) * dim, dim))
    bias = _bias(tensors, place, len(group) * dim)
    for i, dense in enumerate(group):
        part = slice(i * dim, (i + 1) * dim)
        # Keras splits the heads: [d, heads, dim] inwards, [heads, dim, d] outwards.
        dense.kernel.assign(weight[part].T.reshape(dense.kernel.shape))
        dense.bias.assign(bias[part].reshape(dense.bias.shape))


def _load_norm(norm: Any, scope: str, tensors: Tensors) -> None:
    norm.gamma.assign(tensors.take(f"{scope}/layer_norm/gamma", tuple(norm.gamma.shape)))
    norm.beta.assign(tensors.take(f"{scope}/layer_norm/beta", tuple(norm.beta.shape)))
