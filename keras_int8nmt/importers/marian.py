"""`load_marian`: a Hugging Face Marian (OPUS-MT) folder as a `Transformer`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt._untrusted import inside, parse_json, read_bytes
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.storages import open_storage
from keras_int8nmt.importers.tensors import Tensors, check_sizes
from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.models.settings import check_settings
from keras_int8nmt.models.transformer import Transformer

_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "swish", "silu": "swish"}

# Options that change the computation in a way that Transformer has no argument for, and the one
# value that it computes; absent means that value.
_REQUIRED = {
    "model_type": "marian",
    "is_encoder_decoder": True,
    "static_position_embeddings": True,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
}

_INTEGERS = (
    "vocab_size",
    "d_model",
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "pad_token_id",
    "eos_token_id",
)

_LAYER_NORM_EPSILON = 1e-5
_MOST_CONFIG = 16 << 20

_SHARED_TABLE = "model.shared.weight"
_ENCODER_TABLE = "model.encoder.embed_tokens.weight"
_DECODER_TABLE = "model.decoder.embed_tokens.weight"


class MarianFormatError(KerasInt8nmtError, ValueError):
    """A Marian folder lacks something, has it in another shape, or uses an unsupported option."""


def load_marian(folder: str | os.PathLike[str], quant: bool = True) -> Transformer:
    """Loads a translation model in the Hugging Face Marian layout, as OPUS-MT publishes them.

    Read are `config.json` and the weights that are there, the first of `model.safetensors`, its
    shards with `model.safetensors.index.json`, `pytorch_model.bin` (of any release of PyTorch; its
    pickle is read and never run), its shards, and `tf_model.h5`; in float32, float16 or bfloat16.
    No other package is needed. The tokenizer of the same folder is `MarianTokenizer`'s.

    Args:
        folder: The folder.
        quant: As in `build_transformer`: whether the model can be calibrated and converted.

    Returns:
        A `Transformer` in float32, not compiled, dropout as configured. Its logits are those of
        `transformers.MarianMTModel`.

    Raises:
        MarianFormatError: naming the missing file, the missing, unexpected or misshapen tensor, or
            the option and its value that is not supported.

    Example:

        >>> model = load_marian("opus-mt-en-de")
        >>> model.predict(batches, callbacks=[CalibrationCallback()])
    """
    folder = Path(folder)
    config = _read_config(folder)
    tensors = open_storage(folder, MarianFormatError)
    settings = _settings(config, tensors)
    check_sizes(settings, tensors)
    model = build_transformer(quant, **settings)
    _load_tables(model, tensors)
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


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise MarianFormatError(f"There is no folder {str(folder)!r}.")
    path = inside(folder, "config.json", MarianFormatError)
    if not path.is_file():
        raise MarianFormatError(f"{str(folder)!r} has no file config.json.")
    try:
        config = parse_json(read_bytes(path, _MOST_CONFIG, MarianFormatError))
    except MarianFormatError:
        raise
    except ValueError as error:
        raise MarianFormatError(f"{str(path)!r} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise MarianFormatError(f"{str(path)!r} must hold one JSON object.")
    return config


def _settings(config: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """The arguments of `build_transformer` that say what `config` says."""
    for option, wanted in _REQUIRED.items():
        if config.get(option, wanted) != wanted:
            raise MarianFormatError(
                f"Option {option}={config[option]!r} of config.json is not supported; only "
                f"{wanted!r} is."
            )
    for option in _INTEGERS:
        value = config.get(option)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise MarianFormatError(
                f"Option {option} of config.json must be a whole number; it is {value!r}."
            )
    activation = config.get("activation_function", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise MarianFormatError(
            f"Option activation_function={activation!r} of config.json is not supported; only "
            f"{', '.join(_ACTIVATIONS)} are."
        )
    target_size = config.get("decoder_vocab_size") or config["vocab_size"]
    start_id = config.get("decoder_start_token_id")
    settings = {
        "source_vocabulary_size": config["vocab_size"],
        "target_vocabulary_size": target_size,
        "num_encoder_layers": config["encoder_layers"],
        "num_decoder_layers": config["decoder_layers"],
        "model_dim": config["d_model"],
        "num_heads": config["encoder_attention_heads"],
        "decoder_num_heads": config["decoder_attention_heads"],
        "ffn_dim": config["encoder_ffn_dim"],
        "decoder_ffn_dim": config["decoder_ffn_dim"],
        "activation": _ACTIVATIONS[activation],
        "norm": "post",
        "tie_embeddings": _tying(config, tensors),
        "position_encoding": "half",
        "scale_embedding": bool(config.get("scale_embedding", False)),
        "dropout": config.get("dropout", 0.1),
        "max_length": config.get("max_position_embeddings", 1024),
        "pad_id": config["pad_token_id"],
        "eos_id": config["eos_token_id"],
        "start_id": config["pad_token_id"] if start_id is None else start_id,
        "layer_norm_epsilon": _LAYER_NORM_EPSILON,
        "output_bias": True,
        "name": "marian",
    }
    try:
        check_settings({name: value for name, value in settings.items() if name != "name"})
    except ValueError as error:
        raise MarianFormatError(f"config.json describes no possible model: {error}") from error
    return settings


def _tying(config: dict[str, Any], tensors: Tensors) -> str:
    shared = config.get("share_encoder_decoder_embeddings", True)
    tied = config.get("tie_word_embeddings", True)
    if (
        shared
        and (config.get("decoder_vocab_size") or config["vocab_size"]) != config["vocab_size"]
    ):
        raise MarianFormatError(
            f"Option share_encoder_decoder_embeddings={shared!r} needs decoder_vocab_size to be "
            f"vocab_size; they are {config['decoder_vocab_size']} and {config['vocab_size']}."
        )
    if not shared:
        return "output" if tied else "none"
    if tied:
        return "all"
    # transformers 5 ties nothing then and uses the tables of encoder and decoder; earlier versions
    # save one for both.
    return "none" if _ENCODER_TABLE in tensors and _DECODER_TABLE in tensors else "inputs"


def _load_tables(model: Transformer, tensors: Tensors) -> None:
    """Embedding tables, output projection and bias, under all names that they are saved by."""
    source = (model.source_vocabulary_size, model.model_dim)
    target = (model.target_vocabulary_size, model.model_dim)
    if model.target_embedding is model.source_embedding:
        copies = [_ENCODER_TABLE, _DECODER_TABLE]
        if model.output_projection is None:
            copies.append("lm_head.weight")
        table = _take_one_of(tensors, [_SHARED_TABLE, *copies], source)
        model.source_embedding.embeddings.assign(table)
    else:
        model.source_embedding.embeddings.assign(tensors.take(_ENCODER_TABLE, source))
        copies = ["lm_head.weight"] if model.output_projection is None else []
        table = _take_one_of(tensors, [_DECODER_TABLE, *copies], target)
        model.target_embedding.embeddings.assign(table)
        if _SHARED_TABLE in tensors:
            tensors.take(_SHARED_TABLE, source)  # saved, but not used where nothing is shared
    bias = tensors.take("final_logits_bias", (1, target[0]))[0]
    if model.output_projection is None:
        model.output_bias.assign(bias)
    else:
        model.output_projection.kernel.assign(tensors.take("lm_head.weight", target).T)
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
    expected = model.position_table
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
