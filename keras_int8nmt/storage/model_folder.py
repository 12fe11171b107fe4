"""One folder per model: `save_folder` and `load_folder`, for float, calibrated and INT8 models.

    model.keras        the Keras model
    source.spm target.spm vocab.json ...    the tokenizer, where there is one
    model_card.json    what the model is, and the SHA-256 of every file

A folder is written under another name beside its place and renamed when it is complete, so it is
there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_int8nmt._version import __version__
from keras_int8nmt.errors import KerasInt8nmtError

CARD_FILE = "model_card.json"
MODEL_FILE = "model.keras"
# The last two are not in every folder.
TOKENIZER_FILES = (
    "source.spm",
    "target.spm",
    "vocab.json",
    "target_vocab.json",
    "tokenizer_config.json",
)
FORMAT = "keras-int8nmt model"
FORMAT_VERSION = 1

# What `save_folder` finds out by itself; a caller's card can't set these.
_OWN_KEYS = (
    "format",
    "format_version",
    "keras_int8nmt_version",
    "state",
    "precision",
    "conversion_report",
    "files",
    "card_sha256",
)


class ModelFolderError(KerasInt8nmtError, ValueError):
    """A model folder can't be read or written; the message names the file and what is wrong."""


def save_folder(
    model: Any,
    folder: str | os.PathLike[str],
    tokenizer: Any = None,
    card: dict[str, Any] | None = None,
    force: bool = False,
) -> None:
    """Saves a model, its tokenizer and a model card as one folder.

    Args:
        model: A float, calibrated or converted Keras model.
        folder: Where to; it must not exist.
        tokenizer: A `MarianTokenizer`, or None.
        card: More entries for the model card, JSON values: by custom `thresholds_mode`, `data`
            (what it was calibrated on) and `bleu`.
        force: Replace `folder` if it is a model folder already.

    Raises:
        ModelFolderError: when the folder exists and `force` is not set, when it is something else
            than a model folder, or when `card` has a key that is found out here.

    Example:

        >>> save_folder(convert(model), "en-de-int8", tokenizer, {"thresholds_mode": "symmetric"})
        >>> model, tokenizer, card = load_folder("en-de-int8")
    """
    folder = Path(folder)
    check_writable(folder, force)
    taken = sorted(set(card or ()) & set(_OWN_KEYS))
    if taken:
        raise ModelFolderError(f"The card's entry {taken[0]!r} is set by save_folder itself.")
    with new_folder(folder) as draft:
        model.save(draft / MODEL_FILE)
        if tokenizer is not None:
            tokenizer.save(draft)
        files = sorted(path.name for path in draft.iterdir())
        report = getattr(model, "conversion_report", None)
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "keras_int8nmt_version": __version__,
            "state": state_of(model),
            "precision": precision_of(model),
            **(card or {}),
            "conversion_report": None if report is None else json.loads(report.to_json()),
            "files": {name: _sha256(draft / name) for name in files},
        }
        _write_card(draft, content)


def check_writable(
    folder: str | os.PathLike[str], force: bool = False, mark: str = CARD_FILE
) -> None:
    """Raises ModelFolderError where `save_folder` would refuse to write; changes nothing.

    Args:
        folder: Where to write.
        force: Whether a folder that is there may be replaced.
        mark: A file by which it is known to be one that may.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ModelFolderError(f"{str(folder)!r} is not a folder.")
    if not folder.parent.is_dir():
        raise ModelFolderError(f"There is no folder {str(folder.parent)!r} to write into.")
    if not folder.exists():
        return
    if not force:
        raise ModelFolderError(f"{str(folder)!r} exists already; force replaces it.")
    # What is replaced is deleted: never somebody's home by a slip.
    if any(folder.iterdir()) and not (folder / mark).is_file():
        raise ModelFolderError(
            f"{str(folder)!r} holds other files and no {mark}; it is not replaced."
        )


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
    # A native library that can't run as the environment asks: Keras would hide the error below.
    from keras_int8nmt.ops import functions as ops

    ops.native_available()
    folder = Path(folder)
    card = read_card(folder)
    for name, expected in card["files"].items():
        _check_file(folder / name, expected)
    for name in TOKENIZER_FILES:
        if name not in card["files"] and (folder / name).exists():
            raise ModelFolderError(f"{str(folder / name)!r} is not a file of the saved model.")
    # Keras finds only classes whose modules were imported; a float model needs no TensorFlow.
    converted = card["state"] == "converted"
    module = "conversion.converter" if converted else "models.transformer"
    importlib.import_module(f"keras_int8nmt.{module}")
    import keras

    try:
        model = keras.saving.load_model(folder / MODEL_FILE)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ModelFolderError(f"Keras can't load {str(folder / MODEL_FILE)!r}: {error}") from error
    if card["conversion_report"] is not None:
        from keras_int8nmt.conversion.report import ConversionReport

        report = json.dumps(card["conversion_report"])
        try:
            model.conversion_report = ConversionReport.from_json(report)
        except (ValueError, TypeError) as error:
            raise ModelFolderError(f"{str(folder / CARD_FILE)!r}: {error}") from error
    return model, _load_tokenizer(folder, card["files"]), card


def open_model(
    path: str | os.PathLike[str], *, quant: bool = True
) -> tuple[Any, Any, dict[str, Any]]:
    """Opens a folder of `save_folder`, or one in the Hugging Face Marian layout.

    Args:
        path: The folder.
        quant: For a Marian folder: whether the model can be calibrated (see `load_marian`).

    Returns:
        `(model, tokenizer, card)`; of a Marian folder the card is empty.

    Raises:
        ModelFolderError: when it is neither, or damaged.
        MarianFormatError: see `load_marian`.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelFolderError(f"There is no model folder {str(folder)!r}.")
    if (folder / CARD_FILE).is_file():
        return load_folder(folder)
    if (folder / "config.json").is_file():
        from keras_int8nmt.importers.marian import load_marian

        return load_marian(folder, quant=quant), _load_tokenizer(folder, TOKENIZER_FILES), {}
    raise ModelFolderError(
        f"{str(folder)!r} is not a model folder: it has neither {CARD_FILE} (of keras-int8nmt) "
        "nor config.json (of a Marian model)."
    )


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The model card of a folder, checked; the other files are not read."""
    path = Path(folder) / CARD_FILE
    if not path.parent.is_dir():
        raise ModelFolderError(f"There is no model folder {str(path.parent)!r}.")
    if not path.is_file():
        raise ModelFolderError(f"{str(path.parent)!r} has no file {CARD_FILE}.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFolderError(f"{str(path)!r} is damaged, not JSON: {error}.") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelFolderError(f"{str(path)!r} is not the card of a keras-int8nmt model.")
    if card.get("format_version") != FORMAT_VERSION:
        raise ModelFolderError(
            f"{str(path)!r} has format version {card.get('format_version')!r}; this release reads "
            f"version {FORMAT_VERSION}."
        )
    if card.get("card_sha256") != _card_sha256(card):
        raise ModelFolderError(
            f"{str(path)!r} was changed after it was written: its checksum differs."
        )
    _check_content(path, card)
    return card


def fingerprint(folder: str | os.PathLike[str]) -> str:
    """Tells one model folder from another by what is in its files, wherever it lies.

    Of a folder that has no card the ends of large files are read, not all of them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelFolderError(f"There is no model folder {str(folder)!r}.")
    if (folder / CARD_FILE).is_file():
        content = read_card(folder)["files"]
    else:
        content = {p.name: _ends(p) for p in sorted(folder.iterdir()) if p.is_file()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def update_card(folder: str | os.PathLike[str], entries: dict[str, Any]) -> None:
    """Adds entries, such as `bleu`, to the card of a saved model."""
    taken = sorted(set(entries) & set(_OWN_KEYS))
    if taken:
        raise ModelFolderError(f"The card's entry {taken[0]!r} is not for callers to set.")
    _write_card(Path(folder), {**read_card(folder), **entries})


def state_of(model: Any) -> str:
    """ "float", "calibrated" or "converted"."""
    if hasattr(model, "conversion_report"):
        return "converted"
    from keras_int8nmt.layers.model_state import observers

    required = [o for _, o in observers(model) if not o.optional]
    return "calibrated" if required and all(o.is_calibrated for o in required) else "float"


def precision_of(model: Any) -> str:
    """ "int8", "float32", or "mixed" where some MatMuls stayed float."""
    if not hasattr(model, "conversion_report"):
        return "float32"
    report = model.conversion_report
    # Saved by Keras alone, an `Int8Transformer` has no report, but it knows its layers.
    return model.precision if report is None else report.precision


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft beside `folder`, which takes its place at the end; after an error nothing is left."""
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield draft
        # mkdtemp's folders are for their owner alone.
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o777 & ~umask)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            os.replace(folder, old / "replaced")
            os.replace(draft, folder)
            shutil.rmtree(old)
        else:
            os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_card(folder: Path, content: dict[str, Any]) -> None:
    content = {key: value for key, value in content.items() if key != "card_sha256"}
    content["card_sha256"] = _card_sha256(content)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    draft = folder / f".{CARD_FILE}.new"
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, folder / CARD_FILE)


def _card_sha256(card: dict[str, Any]) -> str:
    rest = {key: value for key, value in card.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_content(path: Path, card: dict[str, Any]) -> None:
    """What `load_folder` relies on: a card with a good checksum may still be of other hands."""
    for key in ("state", "precision", "conversion_report", "files"):
        if key not in card:
            raise ModelFolderError(f"{str(path)!r} lacks the entry {key!r}.")
    files, known = card["files"], {MODEL_FILE, *TOKENIZER_FILES}
    if not isinstance(files, dict) or MODEL_FILE not in files or not files.keys() <= known:
        raise ModelFolderError(
            f'"files" of {str(path)!r} must list {MODEL_FILE} and may list '
            f"{', '.join(TOKENIZER_FILES)}."
        )
    for name, entry in files.items():
        if not isinstance(entry, dict) or not entry.keys() >= {"bytes", "sha256"}:
            raise ModelFolderError(f"{str(path)!r} lacks the size or the SHA-256 of {name}.")


def _check_file(path: Path, expected: dict[str, Any]) -> None:
    if not path.is_file():
        raise ModelFolderError(f"{str(path.parent)!r} has no file {path.name}.")
    found = _sha256(path)
    if found["bytes"] != expected["bytes"]:
        raise ModelFolderError(
            f"{str(path)!r} has {found['bytes']} bytes and should have {expected['bytes']}: it is "
            "truncated or was replaced."
        )
    if found["sha256"] != expected["sha256"]:
        raise ModelFolderError(
            f"{str(path)!r} was changed after it was written: its SHA-256 differs."
        )


def _sha256(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _ends(path: Path) -> list[Any]:
    size, end = path.stat().st_size, 1 << 20
    with path.open("rb") as file:
        content = file.read(end)
        file.seek(max(len(content), size - end))
        content += file.read()
    return [size, hashlib.sha256(content).hexdigest()]


def _load_tokenizer(folder: Path, files: Any) -> Any:
    if "vocab.json" not in files:
        return None
    from keras_int8nmt.tokenizers.marian import MarianTokenizer

    return MarianTokenizer(folder)
