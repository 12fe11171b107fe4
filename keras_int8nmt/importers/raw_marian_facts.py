"""What a raw Marian model holds and lacks, told without Keras and without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.folder_facts import parameters
from keras_int8nmt.importers.raw_marian_files import find_files
from keras_int8nmt.importers.raw_marian_model import (
    OpenedModel,
    not_done_message,
    open_model,
    read_search,
    unknown_message,
)
from keras_int8nmt.importers.raw_marian_tokenizer import tokenizer_of
from keras_int8nmt.runtime.search_defaults import SearchDefaults

_SCRIPTS = {
    "preprocess.sh": "is not run: what it does to a text before its pieces are made (replacing "
    "Unicode punctuation and control characters{moses}) is not done here",
    "postprocess.sh": "is not run: {joined}",
}
_MOSES = ", Moses' normalization and tokenization"
_JOINED = {
    "spm": "pieces are joined to words here, which is all that it does",
    "bpe": "pieces are joined to words here, and Moses' detokenization is not done",
}


def search_defaults(path: Path) -> SearchDefaults:
    """What a model asks of a search, as far as ours can do it.

    Raises:
        MarianFormatError: as `load_raw_marian`.
    """
    try:
        opened = open_model(Path(path))
    except KerasInt8nmtError:
        # What is wrong with the model itself is told where it is opened.
        find_files(Path(path))
        return SearchDefaults()
    return read_search(opened.files, opened.vocabularies).defaults


def describe(path: Path) -> dict[str, Any]:
    """Figures of a model.

    What `load_raw_marian` and the tokenizer would refuse is told under "problems", what they would
    warn of under "notes".
    """
    facts: dict[str, Any] = {}
    problems: list[str] = []
    notes: list[str] = []
    try:
        opened = open_model(Path(path))
    except KerasInt8nmtError as error:
        return {"problems": [str(error)]}
    settings = opened.settings
    facts["storage"], facts["dtype"] = opened.files.weights, ", ".join(opened.tensors.dtypes)
    facts["tensors"] = len(opened.tensors)
    if opened.description.text("version", ""):
        facts["written by"] = f"Marian {opened.description.text('version')[:40]}"
    facts["parameters"] = parameters(settings)
    facts["architecture"] = {
        "encoder layers": settings["num_encoder_layers"],
        "decoder layers": settings["num_decoder_layers"],
        **{name: settings[name] for name in ("model_dim", "num_heads", "ffn_dim", "norm")},
        "activation": settings["activation"],
    }
    sizes = {side: settings[f"{side}_vocabulary_size"] for side in ("source", "target")}
    facts["vocabulary"] = {**sizes, "of which is padding": opened.pad_id}
    for step in (_tell_search, _tell_tokenizer):
        try:
            step(opened, facts, notes)
        except KerasInt8nmtError as error:
            problems.append(str(error))
    if (message := unknown_message(opened)) is not None:
        notes.append(message)
    facts.update({name: told for name, told in (("notes", notes), ("problems", problems)) if told})
    return facts


def _tell_search(opened: OpenedModel, facts: dict[str, Any], notes: list[str]) -> None:
    search = read_search(opened.files, opened.vocabularies)
    facts["search"] = search.defaults.to_json()
    if (message := not_done_message(opened.files, search)) is not None:
        notes.append(message)


def _tell_tokenizer(opened: OpenedModel, facts: dict[str, Any], notes: list[str]) -> None:
    segmentation = opened.files.segmentation
    made = tokenizer_of(opened)
    if made is None:
        notes.append(
            "there is no tokenizer: it would be a vocabulary and source.spm with target.spm, or "
            "source.bpe with target.bpe"
        )
        return
    kind = segmentation["source"].rpartition(".")[2]
    ids = {side: len(getattr(made, f"{side}_ids")) for side in ("source", "target")}
    name = {"spm": "SentencePiece", "bpe": "subword-nmt"}[kind]
    facts["tokenizer"] = {f"{name} with": " and ".join(dict.fromkeys(opened.files.vocabularies))}
    facts["tokenizer"].update(ids)
    if made.language_codes:
        facts["language codes"] = made.language_codes
    for side in ("source", "target"):
        size = opened.settings[f"{side}_vocabulary_size"]
        told = f"the model has {size} {side} ids, and the tokenizer {ids[side]}"
        if max(getattr(made, f"{side}_ids")) >= size:
            raise KerasInt8nmtError(f"{told}, some of them beyond")
        if ids[side] != size:
            notes.append(told)
    words = {"moses": _MOSES if kind == "bpe" else "", "joined": _JOINED[kind]}
    notes += [
        f"{script} {what.format(**words)}"
        for script, what in _SCRIPTS.items()
        if script in opened.files.place.names
    ]
