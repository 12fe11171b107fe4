"""`generation_config.json` of a Hugging Face folder: what it asks of a search, and what we can do.

Older folders have the same names in `config.json`. Lengths there count the start token, ours don't.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt._untrusted import inside, json_object, read_bytes
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.weights_file import short
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.runtime.token_bans import FirstToken, NoSequences

FILE = "generation_config.json"
_MOST_BYTES = 16 << 20
_MOST_TOKENS = 10_000

# What the search has no word for, with the values that ask for nothing.
_NOT_DONE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("repetition_penalty", "encoder_repetition_penalty", "guidance_scale"), (1,)),
    **dict.fromkeys(("num_beam_groups",), (0, 1)),
    **dict.fromkeys(("diversity_penalty", "encoder_no_repeat_ngram_size"), (0,)),
    **dict.fromkeys(("do_sample", "early_stopping", "renormalize_logits"), (False,)),
    **dict.fromkeys(
        (
            *("begin_suppress_tokens", "constraints", "exponential_decay_length_penalty"),
            *("force_words_ids", "forced_decoder_ids", "max_time", "penalty_alpha"),
            *("sequence_bias", "stop_strings", "watermarking_config", "prompt_lookup_num_tokens"),
            *("dola_layers", "bos_token_ids"),
        ),
        ([], {}),
    ),
}
# What says nothing of the answers of a search that does not sample.
_NOTHING = {
    *("_from_model_config", "transformers_version", "use_cache", "return_dict_in_generate"),
    *("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff"),
    *("eta_cutoff", "bos_token_id", "pad_token_id", "decoder_start_token_id", "low_memory"),
    *("remove_invalid_values", "cache_implementation", "cache_config", "return_legacy_cache"),
    *("token_healing", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule"),
    *("assistant_confidence_threshold", "max_matching_ngram_size", "generation_kwargs"),
    *("assistant_early_exit", "assistant_lookbehind", "target_lookbehind", "compile_config"),
    *("disable_compile", "prefill_chunk_size", "begin_suppress_tokens_offset"),
}
_LENGTHS = ("max_length", "max_new_tokens", "min_length", "min_new_tokens")
_TOKENS = ("bad_words_ids", "suppress_tokens", "forced_bos_token_id", "forced_eos_token_id")
_OTHERS = ("num_beams", "num_return_sequences", "eos_token_id")
# Options that have the same name and meaning in both.
_SAME = {one.name for one in fields(SearchOptions)} - {*_LENGTHS, "token_filters", "return_scores"}


class Generation(NamedTuple):
    """What a folder asks of a search.

    Attributes:
        defaults: What ours can do of it.
        start_id: The token that a decoder begins with, where it says one.
        not_done: What it can't, each as "name=value".
        file: Where it was read.
    """

    defaults: SearchDefaults
    start_id: int | None
    not_done: tuple[str, ...]
    file: str


def read_generation(folder: Path, config: Mapping[str, Any]) -> Generation:
    """What a folder asks of a search; `config` is its `config.json`, whose sizes are checked.

    Raises:
        MarianFormatError: naming the file and the entry that can't be.
    """
    path = inside(folder, FILE, MarianFormatError)
    asked = dict(config)
    known = {*_NOT_DONE, *_LENGTHS, *_TOKENS, *_OTHERS, *_SAME}
    # An entry of config.json that is none of these is about the model.
    name, unknown = "config.json", set()
    if os.path.lexists(path):
        content = read_bytes(path, _MOST_BYTES, MarianFormatError)
        asked, name = json_object(path, content, MarianFormatError), FILE
        unknown = set(asked) - known - _NOTHING - set(_outputs(asked))
    try:
        return _generation(asked, config, name, unknown)
    except (TypeError, ValueError) as error:
        if isinstance(error, MarianFormatError):
            raise
        raise MarianFormatError(f"{str(folder / name)!r}: {error}") from error


def not_done_message(folder: Path, generation: Generation) -> str | None:
    """One line on what a search can't do that a folder asks for; None where that is nothing."""
    if not generation.not_done:
        return None
    return (
        f"{str(folder / generation.file)!r} asks for {', '.join(generation.not_done)}, which the "
        "search here can't do: its translations are those without."
    )


def _outputs(asked: Mapping[str, Any]) -> list[str]:
    return [name for name in asked if name.startswith("output_")]


def _generation(
    asked: Mapping[str, Any], config: Mapping[str, Any], file: str, unknown: set[str]
) -> Generation:
    asked = {name: value for name, value in asked.items() if value is not None}
    vocabulary = config.get("decoder_vocab_size") or config["vocab_size"]
    values = {name: asked[name] for name in _SAME if name in asked}
    for name, ours in (("num_beams", "beam_size"), ("num_return_sequences", "num_hypotheses")):
        if name in asked:
            values[ours] = asked[name]
    values |= _lengths(asked)
    eos, pad = config["eos_token_id"], config["pad_token_id"]
    if filters := _filters(asked, eos, pad, vocabulary):
        values["token_filters"] = filters
    start = asked.get("decoder_start_token_id")
    if start is not None:
        start = _token("decoder_start_token_id", start, vocabulary)
    not_done = [name for name in _NOT_DONE if _asks(asked, name, _NOT_DONE[name])]
    not_done += [name for name in sorted(unknown) if name in asked]
    for name in ("forced_eos_token_id", "eos_token_id"):
        if asked.get(name, eos) not in (eos, [eos]):
            not_done.append(name)
    told = tuple(f"{ascii(name)[1:-1][:60]}={_told(asked[name])}" for name in not_done)
    return Generation(SearchDefaults(values), start, told, file)


def _asks(asked: Mapping[str, Any], name: str, neutral: tuple[Any, ...]) -> bool:
    return name in asked and asked[name] not in neutral


def _told(value: Any) -> str:
    return short(value) if not isinstance(value, float) else repr(value)


def _lengths(asked: Mapping[str, Any]) -> dict[str, int]:
    found = {}
    for name in _LENGTHS:
        if name in asked and type(asked[name]) is not int:
            raise ValueError(f"`{name}` must be a whole number; it is {_told(asked[name])}.")
    # Of new tokens, which win, the start token is none; the end token is one here.
    if "max_new_tokens" in asked:
        found["max_length"] = asked["max_new_tokens"]
    elif "max_length" in asked:
        found["max_length"] = max(asked["max_length"] - 1, min(asked["max_length"], 1))
    if "min_new_tokens" in asked:
        found["min_length"] = asked["min_new_tokens"] + 1
    elif asked.get("min_length"):
        found["min_length"] = asked["min_length"]
    if "min_length" in found and "max_length" in found:
        # As there, the maximum wins.
        found["min_length"] = min(found["min_length"], max(found["max_length"], 0))
    return found


def _filters(
    asked: Mapping[str, Any], eos: int, pad: int, vocabulary: int
) -> tuple[NoSequences | FirstToken, ...]:
    words, tokens = "bad_words_ids", "suppress_tokens"
    sequences = [_tokens(words, each, vocabulary) for each in _list(asked, words)]
    sequences += [(_token(tokens, each, vocabulary),) for each in _list(asked, tokens)]
    # Padding is never produced anyhow, and the end token can't be a bad word.
    sequences = [each for each in dict.fromkeys(sequences) if each not in ((pad,), (eos,))]
    filters: list[NoSequences | FirstToken] = []
    if sequences:
        filters.append(NoSequences(tuple(sequences)))
    if "forced_bos_token_id" in asked:
        first = _token("forced_bos_token_id", asked["forced_bos_token_id"], vocabulary)
        filters.append(FirstToken(first, vocabulary))
    return tuple(filters)


def _list(asked: Mapping[str, Any], name: str) -> list[Any]:
    value = asked.get(name, [])
    if not isinstance(value, list) or len(value) > _MOST_TOKENS:
        raise ValueError(f"`{name}` must be a list of {_MOST_TOKENS} entries at most.")
    return value


def _tokens(name: str, value: Any, vocabulary: int) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"`{name}` must hold lists of token ids.")
    return tuple(_token(name, each, vocabulary) for each in value)


def _token(name: str, value: Any, vocabulary: int) -> int:
    if type(value) is not int or not 0 <= value < vocabulary:
        raise ValueError(f"`{name}` must have token ids below {vocabulary}; one is {_told(value)}.")
    return value
