"""`config.json` of a Hugging Face Marian folder as the settings of a Transformer; without Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import inside, json_object, read_bytes
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.tensors import Tensors
from keras_int8nmt.models.settings import check_settings

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

ENCODER_TABLE = "model.encoder.embed_tokens.weight"
DECODER_TABLE = "model.decoder.embed_tokens.weight"


def read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise MarianFormatError(f"There is no folder {str(folder)!r}.")
    path = inside(folder, "config.json", MarianFormatError)
    if not path.is_file():
        raise MarianFormatError(f"{str(folder)!r} has no file config.json.")
    content = read_bytes(path, _MOST_CONFIG, MarianFormatError)
    return json_object(path, content, MarianFormatError)


def settings_of(config: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
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
    return "none" if ENCODER_TABLE in tensors and DECODER_TABLE in tensors else "inputs"
