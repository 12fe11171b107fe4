"""Checks of what a Transformer is given: its settings and its inputs."""

from __future__ import annotations

import math
import numbers
from typing import Any

DEFAULTS: dict[str, Any] = {
    "source_vocabulary_size": 32000,
    "target_vocabulary_size": None,
    "num_encoder_layers": 6,
    "num_decoder_layers": 6,
    "model_dim": 512,
    "num_heads": 8,
    "ffn_dim": 2048,
    "activation": "relu",
    "norm": "post",
    "tie_embeddings": True,
    "position_encoding": "half",
    "first_position": 0,
    "scale_embedding": True,
    "dropout": 0.1,
    "max_length": 256,
    "pad_id": 0,
    "eos_id": 1,
    "start_id": 0,
    "layer_norm_epsilon": 1e-5,
    "output_bias": True,
    "decoder_num_heads": None,
    "decoder_ffn_dim": None,
}

CHOICES: dict[str, tuple[Any, ...]] = {
    "activation": ("relu", "gelu", "swish"),
    "norm": ("post", "pre"),
    "position_encoding": ("half", "interleaved", "marian"),
    "tie_embeddings": (True, False, "all", "output", "inputs", "none"),
    "scale_embedding": (True, False),
    "output_bias": (True, False),
}

_SIZES = (
    "source_vocabulary_size",
    "target_vocabulary_size",
    "num_encoder_layers",
    "num_decoder_layers",
    "model_dim",
    "num_heads",
    "decoder_num_heads",
    "ffn_dim",
    "decoder_ffn_dim",
    "max_length",
)

_MOST_FIRST_POSITION = 1 << 20


def check_settings(given: dict[str, Any]) -> dict[str, Any]:
    """The complete settings of a Transformer: defaults filled in, every value checked.

    Returns:
        Plain numbers, strings and flags. `tie_embeddings` is one of `"all"`, `"output"`, `"inputs"`
        and `"none"`.

    Raises:
        ValueError: naming the setting and what it may be.
        TypeError: for a setting that does not exist.
    """
    unknown = sorted(given.keys() - DEFAULTS.keys())
    if unknown:
        raise TypeError(f"A Transformer has no argument {unknown[0]!r}.")
    settings = {**DEFAULTS, **given}
    one_vocabulary = settings["target_vocabulary_size"] in (
        None,
        settings["source_vocabulary_size"],
    )
    for name, default in (
        ("target_vocabulary_size", "source_vocabulary_size"),
        ("decoder_num_heads", "num_heads"),
        ("decoder_ffn_dim", "ffn_dim"),
    ):
        if settings[name] is None:
            settings[name] = settings[default]
    for name in _SIZES:
        settings[name] = _integer(name, settings[name], 1, None)
    for name, choices in CHOICES.items():
        value = settings[name]
        # 1 == True: the type counts too.
        if not any(value is c or (isinstance(value, str) and value == c) for c in choices):
            raise ValueError(
                f"`{name}` must be one of {', '.join(map(repr, choices))}; received {value!r}."
            )
    settings["tie_embeddings"] = _tying(settings["tie_embeddings"], one_vocabulary)
    _check_heads(settings)
    _check_positions(settings)
    _check_rates(settings)
    for name in ("pad_id", "eos_id", "start_id"):
        settings[name] = _integer(name, settings[name], 0, settings["target_vocabulary_size"])
    if settings["pad_id"] >= settings["source_vocabulary_size"]:
        raise ValueError(
            f"`pad_id` {settings['pad_id']} is not below `source_vocabulary_size` "
            f"{settings['source_vocabulary_size']}."
        )
    return settings


def _integer(name: str, value: Any, least: int, limit: int | None) -> int:
    good = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not good or value < least or (limit is not None and value >= limit):
        upper = "" if limit is None else f" and below {limit}"
        raise ValueError(
            f"`{name}` must be an integer of at least {least}{upper}; received {value!r}."
        )
    return int(value)


def _tying(value: bool | str, one_vocabulary: bool) -> str:
    if isinstance(value, bool):
        if not value:
            return "none"
        return "all" if one_vocabulary else "output"
    if value in ("all", "inputs") and not one_vocabulary:
        raise ValueError(
            f"`tie_embeddings={value!r}` needs one vocabulary; `target_vocabulary_size` differs "
            "from `source_vocabulary_size`."
        )
    return value


def _check_heads(settings: dict[str, Any]) -> None:
    for name in ("num_heads", "decoder_num_heads"):
        if settings["model_dim"] % settings[name]:
            raise ValueError(
                f"`{name}` must divide `model_dim`; received {name}={settings[name]} and "
                f"model_dim={settings['model_dim']}."
            )


def _check_positions(settings: dict[str, Any]) -> None:
    settings["first_position"] = _integer(
        "first_position", settings["first_position"], 0, _MOST_FIRST_POSITION
    )
    dim = settings["model_dim"]
    if settings["position_encoding"] == "marian" and (dim < 4 or dim % 2):
        raise ValueError(
            "`model_dim` must be even and at least 4 with position_encoding='marian'; received "
            f"{dim}."
        )


def _check_rates(settings: dict[str, Any]) -> None:
    def number(name: str) -> float:
        value = settings[name]
        good = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not good:
            raise ValueError(f"`{name}` must be a number; received {value!r}.")
        try:
            settings[name] = float(value)
        except OverflowError:
            settings[name] = math.inf
        return settings[name]

    if not 0.0 <= number("dropout") < 1.0:
        raise ValueError(
            f"`dropout` must be at least 0 and below 1; received {settings['dropout']}."
        )
    if not 0.0 < number("layer_norm_epsilon") < math.inf:
        raise ValueError(
            "`layer_norm_epsilon` must be above 0 and finite; received "
            f"{settings['layer_norm_epsilon']}."
        )


def split_inputs(inputs: Any) -> tuple[Any, Any]:
    """`(source, target)` of a model's inputs, or of their shapes.

    Raises:
        ValueError: when they are neither a dictionary of both nor a pair, or not of rank 2.
    """
    if isinstance(inputs, dict) and inputs.keys() == {"source", "target"}:
        pair = inputs["source"], inputs["target"]
    elif isinstance(inputs, (tuple, list)) and len(inputs) == 2:
        pair = inputs[0], inputs[1]
    else:
        got = sorted(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
        raise ValueError(
            'A Transformer is called with {"source": ids, "target": ids} or the pair '
            f"(source, target); received {got}."
        )
    for name, value in zip(("source", "target"), pair, strict=True):
        shape = tuple(getattr(value, "shape", value))
        if len(shape) != 2:
            raise ValueError(f"`{name}` must have shape [batch, length]; received shape {shape}.")
    return pair
