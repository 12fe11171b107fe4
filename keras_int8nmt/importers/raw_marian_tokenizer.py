"""The tokenizer of a raw Marian model: its segmentation, and the ids of its vocabularies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_int8nmt.importers.raw_marian_files import read_text
from keras_int8nmt.importers.raw_marian_model import OpenedModel, open_model
from keras_int8nmt.importers.raw_marian_vocabularies import tokenizer_files
from keras_int8nmt.tokenizers.kinds import tokenizer_class


def open_tokenizer(path: Path) -> Any:
    """The tokenizer of a model: `MarianTokenizer`, `SubwordNMTTokenizer`, or None without files.

    Args:
        path: What `load_raw_marian` is given.

    Raises:
        MarianFormatError: see `load_raw_marian`.
        TokenizerError: naming the file that is damaged.
    """
    return tokenizer_of(open_model(Path(path)))


def tokenizer_of(opened: OpenedModel) -> Any:
    """The tokenizer of a model that is opened."""
    place, segmentation = opened.files.place, opened.files.segmentation
    found = opened.vocabularies
    if found is None or not segmentation:
        return None
    if segmentation["source"].endswith(".spm"):
        files = {f"{side}.spm": read_text(place, name) for side, name in segmentation.items()}
        return tokenizer_class("source.spm").of_files(
            {**files, **tokenizer_files(found)}, place.name
        )
    codes, target_codes = (place.path(segmentation[side]) for side in ("source", "target"))
    return tokenizer_class("source.bpe").from_files(
        codes,
        found.source,
        target_codes=target_codes if target_codes != codes else None,
        target_vocabulary=found.target if found.target != found.source else None,
        eos_token=found.tokens["eos_token"],
        unk_token=found.tokens["unk_token"],
        pad_token=found.tokens["pad_token"],
    )
