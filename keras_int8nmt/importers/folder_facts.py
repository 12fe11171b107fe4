"""What a Hugging Face Marian folder holds and lacks, told without Keras and without its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.config_json import read_config, settings_of
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.generation_config import not_done_message, read_generation
from keras_int8nmt.importers.storages import open_storage
from keras_int8nmt.importers.tensors import check_sizes
from keras_int8nmt.runtime.search_defaults import SearchDefaults

_OF_SEARCH = ("vocab_size", "pad_token_id", "eos_token_id")


def search_defaults(folder: Path) -> SearchDefaults:
    """What a folder asks of a search, as far as ours can do it.

    Raises:
        MarianFormatError: as `load_marian`, of its two files of settings.
    """
    config = read_config(folder)
    # What is wrong with the model itself is told where it is opened.
    return read_generation(folder, config).defaults if _has_ids(config) else SearchDefaults()


def describe(folder: Path) -> dict[str, Any]:
    """Figures of a folder.

    What `load_marian` and the tokenizer would refuse is told under "problems", what they would warn
    of under "notes".
    """
    facts: dict[str, Any] = {}
    problems: list[str] = []
    notes: list[str] = []

    def attempt(step: Callable[[], None]) -> None:
        try:
            step()
        except KerasInt8nmtError as error:
            problems.append(str(error))

    config: dict[str, Any] = {}
    sizes: dict[str, int] = {}

    def weights() -> None:
        tensors = open_storage(folder, MarianFormatError)
        facts["storage"], facts["dtype"] = tensors.file, ", ".join(tensors.dtypes)
        facts["tensors"] = len(tensors)
        settings = settings_of(config, tensors)
        check_sizes(settings, tensors)
        sizes.update({side: settings[f"{side}_vocabulary_size"] for side in ("source", "target")})
        facts["parameters"] = parameters(settings)
        facts["architecture"] = {
            "encoder layers": settings["num_encoder_layers"],
            "decoder layers": settings["num_decoder_layers"],
            **{name: settings[name] for name in ("model_dim", "num_heads", "ffn_dim")},
            "activation": settings["activation"],
        }
        facts["vocabulary"] = sizes

    def tokenizer() -> None:
        from keras_int8nmt.tokenizers.kinds import open_tokenizer

        made = open_tokenizer("source.spm", folder)
        ids = {side: len(getattr(made, f"{side}_ids")) for side in ("source", "target")}
        facts["tokenizer"] = {"SentencePiece with": "vocab.json", **ids}
        if made.language_codes:
            facts["language codes"] = made.language_codes
        for side, size in sizes.items():
            told = f"the model has {size} {side} ids, and the tokenizer {ids[side]}"
            if max(getattr(made, f"{side}_ids")) >= size:
                problems.append(f"{told}, some of them beyond")
            elif ids[side] != size:
                notes.append(told)

    def search() -> None:
        generation = read_generation(folder, config)
        facts["search"] = generation.defaults.to_json()
        if (message := not_done_message(folder, generation)) is not None:
            notes.append(message)

    attempt(lambda: config.update(read_config(folder)))
    attempt(weights)
    if _has_ids(config):
        attempt(search)
    attempt(tokenizer)
    facts.update({name: told for name, told in (("notes", notes), ("problems", problems)) if told})
    return facts


def _has_ids(config: Mapping[str, Any]) -> bool:
    return all(type(config.get(name)) is int for name in _OF_SEARCH)


def parameters(settings: Mapping[str, Any]) -> int:
    """The weights of the Transformer of these settings."""
    dim = settings["model_dim"]
    source, target = (settings[f"{side}_vocabulary_size"] for side in ("source", "target"))
    tying = settings["tie_embeddings"]
    tables = source + (target if tying in ("output", "none") else 0)
    tables += target if tying in ("inputs", "none") else 0
    attention, norm = 4 * (dim * dim + dim), 2 * dim
    total = tables * dim + target * settings["output_bias"]
    # The norms at the ends of the stacks.
    total += 2 * norm if settings["norm"] == "pre" else 0
    for stack, ffn, attentions in (("encoder", "ffn_dim", 1), ("decoder", "decoder_ffn_dim", 2)):
        width = settings[ffn]
        block = attentions * (attention + norm) + norm + 2 * dim * width + width + dim
        total += settings[f"num_{stack}_layers"] * block
    return int(total)
