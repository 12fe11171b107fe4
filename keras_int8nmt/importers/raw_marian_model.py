"""A raw Marian model, opened: its files, its description, its tensors; without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.npz_file import read_npz
from keras_int8nmt.importers.option_lines import OptionLines
from keras_int8nmt.importers.raw_marian_files import MODEL, RawFiles, find_files
from keras_int8nmt.importers.raw_marian_options import RawModel, read_model
from keras_int8nmt.importers.raw_marian_vocabularies import (
    Vocabularies,
    read_vocabularies,
    with_padding,
)
from keras_int8nmt.importers.tensors import Tensors
from keras_int8nmt.models.settings import check_settings
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.token_bans import NoSequences

_MOST_DESCRIPTION = 1 << 20
# What Marian's decoder does where nobody says otherwise.
_BEAM, _NORMALIZE, _LENGTH_FACTOR = 12, 0.0, 3.0
# What of a search is done here, is about speed, or says nothing where it has this value.
_DONE = {"beam-size", "normalize", "allow-unk", "models", "vocabs"}
_NEUTRAL: dict[str, tuple[str, ...]] = {
    "word-penalty": ("0", "0.0"),
    "max-length-factor": ("3", "3.0"),
    "weights": ("1", "1.0"),
    **dict.fromkeys(
        (
            *("n-best", "force-decode", "best-deep", "output-sampling", "noise-src", "word-scores"),
            *("max-length-crop", "tsv", "allow-special", "no-spm-decode", "no-spm-encode"),
            *("right-left", "shortlist", "alignment", "input-reorder", "output-approx-knn"),
        ),
        ("false", "", "~", "0", "[]"),
    ),
}
_NOTHING = {
    *("relative-paths", "mini-batch", "mini-batch-words", "maxi-batch", "maxi-batch-sort"),
    *("workspace", "cpu-threads", "devices", "num-devices", "quiet", "quiet-translation", "log"),
    *("log-level", "log-time-zone", "seed", "type", "precision", "skip-cost", "version", "input"),
    *("output", "authors", "cite", "build-info", "interpolate-env-vars", "sigterm", "max-length"),
    *("optimize", "gemm-type", "gemm-precision", "fp16", "check-nan", "model-mmap", "port"),
    *("data-threads", "stat-freq", "ignore-model-config", "clip-gemm", "dump-config", "dump-stats"),
    *("quantize-range", "int8shift", "tsv-fields", "model", "data-weighting"),
}


class OpenedModel(NamedTuple):
    """A raw Marian model.

    Attributes:
        files: Its files.
        model: Its description.
        tensors: Of which none is read yet.
        description: The options of `special:model.yml`.
        settings: The arguments of `build_transformer`.
        vocabularies: None where there are none.
    """

    files: RawFiles
    model: RawModel
    tensors: Tensors
    description: OptionLines
    settings: dict[str, Any]
    vocabularies: Vocabularies | None

    @property
    def pad_id(self) -> int:
        """The id that is put in between; see `raw_marian_vocabularies`."""
        return padding_of(self.model.rows)


def open_model(path: Path) -> OpenedModel:
    """A model, all of it checked but the values of its tensors.

    Raises:
        MarianFormatError: naming what is missing, damaged or not supported.
        TokenizerError: naming the vocabulary that is none.
    """
    files = find_files(path)
    weights = files.place.path(files.weights)
    npz = read_npz(weights, MarianFormatError, _MOST_DESCRIPTION)
    if MODEL not in npz.texts:
        raise MarianFormatError(
            f"{str(weights)!r} has no {MODEL}, which says what model of Marian it is."
        )
    if others := sorted(npz.texts.keys() - {MODEL}):
        raise MarianFormatError(f"{str(weights)!r} has {others[0]!r}, which is no weights.")
    description = OptionLines(
        npz.texts[MODEL].rstrip(b"\0"), f"{MODEL} of {str(weights)!r}", MarianFormatError
    )
    tensors = Tensors(npz.entries, files.weights, MarianFormatError, MODEL)
    model = read_model(description, tensors)
    pad = padding_of(model.rows)
    vocabularies = read_vocabularies(files, pad)
    settings = {
        **model.settings,
        **{f"{side}_vocabulary_size": rows + 1 for side, rows in model.rows.items()},
        "pad_id": pad,
        "start_id": pad,
        "eos_id": with_padding(0, pad) if vocabularies is None else vocabularies.eos_id,
    }
    try:
        check_settings(settings)
    except ValueError as error:
        raise MarianFormatError(f"{files.place.name!r} has no possible model: {error}") from error
    return OpenedModel(files, model, tensors, description, settings, vocabularies)


def padding_of(rows: Mapping[str, int]) -> int:
    """The id of padding of a model with so many ids."""
    return min(rows.values())


class RawSearch(NamedTuple):
    """What a model asks of a search.

    Attributes:
        defaults: What ours can do of it.
        not_done: What it can't, each as "name: value".
    """

    defaults: SearchDefaults
    not_done: tuple[str, ...]


def read_search(files: RawFiles, vocabularies: Vocabularies | None) -> RawSearch:
    """What `decoder.yml` asks of a search, where there is one.

    Raises:
        MarianFormatError: naming the option that can't be.
    """
    values: dict[str, Any] = {}
    not_done = []
    options = files.decoder
    if options is not None:
        values["beam_size"] = options.whole("beam-size", _BEAM, least=1)
        told = options.text("normalize", str(_NORMALIZE)).lower()
        # The option without a value is 1.
        known = {"true": 1.0, "": 1.0, "false": 0.0}
        penalty = known.get(told)
        if penalty is None:
            penalty = options.number("normalize", _NORMALIZE)
        values["length_penalty"] = penalty
        for name in options:
            if name in _DONE or name in _NOTHING:
                continue
            asked = options.items(name)
            if asked and not (len(asked) == 1 and asked[0].lower() in _NEUTRAL.get(name, ())):
                not_done.append(f"{name}: {', '.join(asked)[:60]}")
    unknown_words = options is not None and options.flag("allow-unk", False)
    if vocabularies is not None and not unknown_words:
        values["token_filters"] = (NoSequences(((vocabularies.unk_id,),)),)
    try:
        return RawSearch(SearchDefaults(values), tuple(not_done))
    except ValueError as error:
        raise MarianFormatError(f"{files.place.name!r}, decoder.yml: {error}") from error


def not_done_message(files: RawFiles, search: RawSearch) -> str | None:
    """One line on what a search can't do that a model asks for; None where that is nothing."""
    if not search.not_done:
        return None
    return (
        f"decoder.yml of {files.place.name!r} asks for {', '.join(search.not_done)}, which the "
        "search here can't do: its translations are those without."
    )


def unknown_message(opened: OpenedModel) -> str | None:
    """One line on options of the model that nothing is known of here."""
    if not opened.model.unknown:
        return None
    return (
        f"{opened.description.place} has options that are not known here and were not heeded: "
        f"{', '.join(opened.model.unknown[:10])}."
    )
