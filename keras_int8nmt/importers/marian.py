"""`load_marian`: a Hugging Face Marian (OPUS-MT) folder as a `Transformer`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.importers.config_json import (
    DECODER_TABLE,
    ENCODER_TABLE,
    read_config,
    settings_of,
)
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.generation_config import not_done_message, read_generation
from keras_int8nmt.importers.storages import open_storage
from keras_int8nmt.importers.tensors import Tensors, check_sizes
from keras_int8nmt.models.build import build_on_tables
from keras_int8nmt.models.sinusoids import position_table
from keras_int8nmt.models.transformer import Transformer

# What such a file holds, whichever its model is given.
_STORED_ENCODING = "half"
_ENCODINGS = (_STORED_ENCODING, "marian")
_SHARED_TABLE = "model.shared.weight"


def load_marian(
    folder: str | os.PathLike[str],
    quant: bool = True,
    *,
    position_encoding: str = _STORED_ENCODING,
) -> Transformer:
    """Loads a translation model in the Hugging Face Marian layout, as OPUS-MT publishes them.

    Read are `config.json` and the weights that are there, the first of `model.safetensors`, its
    shards with `model.safetensors.index.json`, `pytorch_model.bin` (of any release of PyTorch; its
    pickle is read and never run), its shards, and `tf_model.h5`; in float32, float16 or bfloat16.
    No other package is needed. The tokenizer of the same folder is `MarianTokenizer`'s.

    Args:
        folder: The folder.
        quant: As in `build_transformer`: whether the model can be calibrated and converted.
        position_encoding: `"half"`, which `transformers` computes; or `"marian"`, which models were
            trained with that Marian has trained and a script then converted, as those of OPUS-MT.
            They differ on long sentences; docs/importers.md says what that is worth.

    Returns:
        A `Transformer` in float32, not compiled, dropout as configured. Its logits are those of
        `transformers.MarianMTModel`, with `position_encoding="half"`. Its `search_defaults` are
        what `generation_config.json` (of older folders `config.json`) asks of a search, as far as
        ours can do it; the rest is told in a warning.

    Raises:
        MarianFormatError: naming the missing file, the missing, unexpected or misshapen tensor, or
            the option and its value that is not supported.
        ValueError: for another `position_encoding`.

    Example:

        >>> model = load_marian("opus-mt-en-de")
        >>> model.predict(batches, callbacks=[CalibrationCallback()])
    """
    if position_encoding not in _ENCODINGS:
        raise ValueError(
            f"`position_encoding` must be one of {', '.join(map(repr, _ENCODINGS))}; received "
            f"{position_encoding!r}."
        )
    folder = Path(folder)
    config = read_config(folder)
    tensors = open_storage(folder, MarianFormatError)
    settings = {**settings_of(config, tensors), "position_encoding": position_encoding}
    check_sizes(settings, tensors)
    generation = read_generation(folder, config)
    if generation.start_id is not None:
        settings["start_id"] = generation.start_id
    if (message := not_done_message(folder, generation)) is not None:
        warnings.warn(message, stacklevel=2)
    model = build_on_tables(quant, _take_tables(settings, tensors), settings)
    model.search_defaults = generation.defaults
    _load_output(model, tensors)
    for prefix, blocks, names in (
        ("encoder", model.encoder_blocks, {"attention": "self_attn"}),
        (
            "decoder",
            model.decoder_blocks,
            {"self_attention": "self_attn", "cross_attention": "encoder_attn"},
        ),
    ):
        for i, block in enumerate(blocks):
            _load_block(block, f"model.{prefix}.layers.{i}.", names, tensors)
    tensors.check_all_taken()
    return model


def _take_tables(settings: dict[str, Any], tensors: Tensors) -> dict[str, np.ndarray]:
    """Embedding tables and output projection, under all names that they are saved by."""
    dim, tying = settings["model_dim"], settings["tie_embeddings"]
    source, target = ((settings[f"{side}_vocabulary_size"], dim) for side in ("source", "target"))
    # Where the output is the table of the target.
    output = ["lm_head.weight"] if tying in ("all", "output") else []
    tables = {}
    if tying in ("all", "inputs"):
        names = [_SHARED_TABLE, ENCODER_TABLE, DECODER_TABLE, *output]
        tables["source_embedding"] = _take_one_of(tensors, names, source)
    else:
        tables["source_embedding"] = tensors.take(ENCODER_TABLE, source)
        tables["target_embedding"] = _take_one_of(tensors, [DECODER_TABLE, *output], target)
        if _SHARED_TABLE in tensors:
            tensors.take(_SHARED_TABLE, source)  # saved, but not used where nothing is shared
    if not output:
        tables["output_projection"] = tensors.take("lm_head.weight", target).T
    return tables


def _load_output(model: Transformer, tensors: Tensors) -> None:
    """The output's bias, and a look at the positions."""
    bias = tensors.take("final_logits_bias", (1, model.target_vocabulary_size))[0]
    if model.output_projection is None:
        model.output_bias.assign(bias)
    else:
        model.output_projection.bias.assign(bias)
    for stack in ("encoder", "decoder"):
        _check_positions(model, f"model.{stack}.embed_positions.weight", tensors)


def _take_one_of(tensors: Tensors, names: list[str], shape: tuple[int, ...]) -> np.ndarray:
    """The one table that is saved under one or more of `names`."""
    present = [name for name in names if name in tensors] or names[:1]
    table = tensors.take(present[0], shape)
    for name in present[1:]:
        if not np.array_equal(tensors.take(name, shape), table):
            raise MarianFormatError(
                f"Tensors {present[0]!r} and {name!r} of {tensors.file} differ; config.json says "
                "that they are one table."
            )
    return table


def _check_positions(model: Transformer, name: str, tensors: Tensors) -> None:
    """Positions are computed, but older files hold them too."""
    if name not in tensors:
        return
    expected = position_table(model.max_length, model.model_dim, _STORED_ENCODING)
    # 2e-3: half precision.
    if not np.allclose(tensors.take(name, expected.shape), expected, atol=2e-3):
        raise MarianFormatError(
            f"Tensor {name!r} of {tensors.file} is not the sinusoids of Marian; learned positions "
            "are not supported."
        )


def _load_block(block: Any, prefix: str, names: dict[str, str], tensors: Tensors) -> None:
    for name, theirs in names.items():
        _load_attention(getattr(block, name), prefix + theirs, tensors)
        _load_norm(getattr(block, name + "_norm"), f"{prefix}{theirs}_layer_norm", tensors)
    for layer, theirs in ((block.ffn_in, "fc1"), (block.ffn_out, "fc2")):
        rows, columns = layer.kernel.shape
        layer.kernel.assign(tensors.take(f"{prefix}{theirs}.weight", (columns, rows)).T)
        layer.bias.assign(tensors.take(f"{prefix}{theirs}.bias", (columns,)))
    _load_norm(block.ffn_norm, prefix + "final_layer_norm", tensors)


def _projections(attention: Any) -> Iterator[tuple[Any, str]]:
    yield attention.query_dense, "q_proj"
    yield attention.key_dense, "k_proj"
    yield attention.value_dense, "v_proj"
    yield attention.output_dense, "out_proj"


def _load_attention(attention: Any, prefix: str, tensors: Tensors) -> None:
    for dense, theirs in _projections(attention):
        # Keras splits the heads: [d, heads, dim] inwards, [heads, dim, d] outwards.
        dim = attention.num_heads * attention.key_dim
        kernel = tensors.take(f"{prefix}.{theirs}.weight", (dim, dim)).T
        dense.kernel.assign(kernel.reshape(dense.kernel.shape))
        bias = tensors.take(f"{prefix}.{theirs}.bias", (dim,))
        dense.bias.assign(bias.reshape(dense.bias.shape))


def _load_norm(norm: Any, prefix: str, tensors: Tensors) -> None:
    norm.gamma.assign(tensors.take(prefix + ".weight", tuple(norm.gamma.shape)))
    norm.beta.assign(tensors.take(prefix + ".bias", tuple(norm.beta.shape)))
