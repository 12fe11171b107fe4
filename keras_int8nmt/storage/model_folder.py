"""One folder per model: `save_folder` and `load_folder`, for float, calibrated and INT8 models.

    model.keras        the Keras model
    spec.json spec.safetensors    of a converted Transformer: what the run side needs of it
    source.spm target.spm vocab.json ...    the tokenizer, where there is one
    model_card.json    what the model is, and the SHA-256 of every file

`load_model` opens foreign folders, too, in a format of `importers.table`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from keras_int8nmt.importers.table import open_foreign
from keras_int8nmt.runtime.model_spec import ModelSpec
from keras_int8nmt.runtime.spec_file import SPEC_FILES, write_spec
from keras_int8nmt.storage.card import (
    CARD_FILE,
    MODEL_FILE,
    check_files,
    check_replaceable,
    read_card,
    refuse_own_keys,
    require_keras_model,
    search_defaults_of,
    write_card,
)
from keras_int8nmt.storage.folders import ModelFolderError, new_folder
from keras_int8nmt.storage.keras_file import load_keras_file, save_keras_file
from keras_int8nmt.storage.recognition import recognise
from keras_int8nmt.storage.state import precision_of, report_of, state_of
from keras_int8nmt.tokenizers.adapters import tokenizer_for
from keras_int8nmt.tokenizers.keras_hub import saved_form
from keras_int8nmt.tokenizers.kinds import TokenizerKind, kind_of, load_tokenizer


def save_folder(
    model: Any,
    folder: str | os.PathLike[str],
    tokenizer: Any = None,
    card: dict[str, Any] | None = None,
    force: bool = False,
    *,
    keras: bool = True,
) -> None:
    """Saves a model, its tokenizer and a model card as one folder.

    A converted Transformer is saved with its model spec, so that `load_translator` needs no Keras.

    Args:
        model: A float, calibrated or converted Keras model.
        folder: Where to; it must not exist.
        tokenizer: One of this package's, of another library's that `as_tokenizer` takes, of a
            class of yours that `register_tokenizer` knows, or None.
        card: More entries for the model card, JSON values: by custom `thresholds_mode`, `data`
            (what it was calibrated on) and `bleu`.
        force: Replace `folder` if it is a model folder already.
        keras: False: the folder holds the model spec alone and no Keras model: half the size, for
            `load_translator` and the command line, and nothing that Keras can load.

    Raises:
        ModelFolderError: for `keras=False` and a model that has no spec; when the folder exists
            and `force` is not set, when it is something else than a model folder, when `card` has a
            key that is found out here, or when the tokenizer could not be loaded again.
        TypeError: for what is no tokenizer.

    Example:

        >>> save_folder(convert(model), "en-de-int8", tokenizer, {"thresholds_mode": "symmetric"})
        >>> model, tokenizer, card = load_folder("en-de-int8")
    """
    folder = Path(folder)
    check_replaceable(folder, force)
    refuse_own_keys(card or (), "set by save_folder itself")
    tokenizer, kind = _to_save(model, tokenizer)
    spec = _spec_of(model)
    if spec is None and not keras:
        raise ModelFolderError(
            "Without Keras a folder holds a converted Transformer; this model is a "
            f"{state_of(model)} {type(model).__name__}."
        )
    with new_folder(folder) as draft:
        if keras:
            save_keras_file(model, draft / MODEL_FILE)
        if spec is not None:
            write_spec(spec, draft)
        if kind is not None:
            _save_tokenizer(tokenizer, kind, draft)
        report = report_of(model)
        write_card(
            draft,
            state=state_of(model),
            precision=precision_of(model),
            conversion_report=None if report is None else json.loads(report.to_json()),
            entries=card or {},
            search_defaults=getattr(model, "search_defaults", None),
            tokenizer=None if kind is None else kind.name,
        )


def _to_save(model: Any, tokenizer: Any) -> tuple[Any, TokenizerKind | None]:
    """A tokenizer as it is saved, and its kind; nothing has been written yet."""
    if tokenizer is None:
        return None, None
    tokenizer = saved_form(tokenizer_for(model, tokenizer))
    kind = kind_of(tokenizer)
    if kind is None:
        raise ModelFolderError(
            f"A {type(tokenizer).__name__} can't be saved with a model, since it could not be "
            "loaded again: register its class with register_tokenizer (docs/tokenizers.md), or "
            "give None and save it yourself."
        )
    return tokenizer, kind


def _save_tokenizer(tokenizer: Any, kind: TokenizerKind, draft: Path) -> None:
    """Writes the files of a tokenizer into a folder of its own first: they replace no others."""
    own = draft / ".tokenizer"
    own.mkdir()
    tokenizer.save(own)
    names = sorted(os.listdir(own))
    taken = {CARD_FILE, MODEL_FILE, *SPEC_FILES}
    is_own = all(name in kind.files and (own / name).is_file() for name in names)
    if kind.mark not in names or not is_own or taken & set(names):
        raise ModelFolderError(
            f"{type(tokenizer).__name__}.save(folder) wrote {', '.join(names) or 'no file'}; "
            f"expected are the file {kind.mark} and others of {', '.join(kind.files)}, none of "
            "them named as the model's own."
        )
    for name in names:
        os.rename(own / name, draft / name)
    own.rmdir()


def _spec_of(model: Any) -> ModelSpec | None:
    """The spec that is saved with a model: of a converted Transformer, since it is frozen."""
    if state_of(model) != "converted":
        return None
    from keras_int8nmt.models.int8_transformer import Int8Transformer

    return model.spec(packed=False) if isinstance(model, Int8Transformer) else None


def load_folder(folder: str | os.PathLike[str]) -> tuple[Any, Any, dict[str, Any]]:
    """Loads what `save_folder` wrote.

    Args:
        folder: The folder.

    Returns:
        `(model, tokenizer, card)`. The outputs of the model are bit for bit those of the one that
        was saved, on the same machine; a converted model has its `conversion_report`. The
        tokenizer is None where none was saved.

    Raises:
        ModelFolderError: naming the file that is missing, truncated or changed, or the format
            version that this release does not know.
    """
    folder = Path(folder)
    card = read_card(folder)
    require_keras_model(folder, card)
    check_files(folder, card)
    # A native library that can't run as the environment asks: Keras would hide the error below.
    from keras_int8nmt.ops import functions as ops

    ops.native_available()
    model = load_keras_file(folder / MODEL_FILE)
    if (defaults := search_defaults_of(folder, card)) or hasattr(model, "search_defaults"):
        model.search_defaults = defaults
    if card["conversion_report"] is not None:
        from keras_int8nmt.conversion.report import ConversionReport

        report = json.dumps(card["conversion_report"])
        try:
            model.conversion_report = ConversionReport.from_json(report)
        except (ValueError, TypeError) as error:
            raise ModelFolderError(f"{str(folder / CARD_FILE)!r}: {error}") from error
    return model, load_tokenizer(folder, card["files"], card.get("tokenizer")), card


def load_model(
    path: str | os.PathLike[str], *, quant: bool = True
) -> tuple[Any, Any, dict[str, Any]]:
    """Opens whatever model is there: a folder of `save_folder`, or a format of other programs.

    The format is told by the content; `keras-int8nmt info PATH` prints what is there and what is
    missing. docs/importers.md lists the formats.

    Args:
        path: The folder, or the file of a format that is one.
        quant: For a foreign model: whether it can be calibrated (see `load_marian`).

    Returns:
        `(model, tokenizer, card)`, as `load_folder` gives them. Of a foreign model the card has the
        entry `imported`: what was found there. The tokenizer is None where there is none. The
        model's `search_defaults` are what its files ask of a search; a `Translator` of it heeds
        them.

    Raises:
        ModelFolderError: when it is none of these, or damaged.
        KerasInt8nmtError: another one for a foreign model, see `load_marian`.
        ImportError: when the importer of the format needs a package that is not installed.

    Example:

        >>> model, tokenizer, card = load_model("opus-mt-en-de")
        >>> Translator(model, tokenizer)(["Good morning."])
    """
    found = recognise(path)
    if found is None:
        return load_folder(path)
    model, tokenizer, facts = open_foreign(Path(path), found, quant=quant)
    kept = {name: facts[name] for name in ("storage", "dtype") if name in facts}
    return model, tokenizer, {"imported": {"format": found.name, **kept}} if facts else {}


# Its name before it opened more than folders.
open_model = load_model
