"""`model_card.json`: what a model folder holds, with a checksum of each file and of itself."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import json_value, open_regular, read_bytes
from keras_int8nmt._version import __version__
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.spec_file import SPEC_FILES
from keras_int8nmt.storage.folders import ModelFolderError, check_writable, put_back
from keras_int8nmt.tokenizers.kinds import is_file_name, is_known, tokenizer_files

CARD_FILE = "model_card.json"
MODEL_FILE = "model.keras"
FORMAT = "keras-int8nmt model"
# Version 2 is a folder with a model spec. One without is what the release before wrote and reads.
FORMAT_VERSIONS = (1, 2)

# Of one file of a folder: a model of more is none that CPUs translate with.
MOST_BYTES = 64 << 30
# A card with the report of a model of a thousand layers is a tenth of it.
_MOST_CARD = 16 << 20
_PIECE = 1 << 18

# What is found out when a folder is saved; a caller's card can't set these.
_OWN_KEYS = (
    "format",
    "format_version",
    "keras_int8nmt_version",
    "state",
    "precision",
    "conversion_report",
    "search_defaults",
    "tokenizer",
    "files",
    "card_sha256",
)


def check_replaceable(folder: str | os.PathLike[str], force: bool = False) -> None:
    """Raises ModelFolderError where `save_folder` would refuse to write; changes nothing."""
    check_writable(folder, force, CARD_FILE)


def own_entries(card: dict[str, Any]) -> dict[str, Any]:
    """The entries of a card that its caller gave to `save_folder`."""
    return {name: value for name, value in card.items() if name not in _OWN_KEYS}


def refuse_own_keys(entries: Iterable[str], why: str) -> None:
    """Raises ModelFolderError naming an entry that only `save_folder` sets."""
    taken = sorted(set(entries) & set(_OWN_KEYS))
    if taken:
        raise ModelFolderError(f"The card's entry {taken[0]!r} is {why}.")


def write_card(
    folder: Path,
    *,
    state: str,
    precision: str,
    conversion_report: dict[str, Any] | None,
    entries: dict[str, Any],
    search_defaults: SearchDefaults | None = None,
    tokenizer: str | None = None,
) -> None:
    """Writes the card of the files that lie in `folder`.

    Args:
        folder: Holds the files and no card.
        state: "float", "calibrated" or "converted".
        precision: "int8", "float32" or "mixed".
        conversion_report: What `ConversionReport.to_json` says, or None.
        entries: The caller's own.
        search_defaults: What the model says of a search.
        tokenizer: The name of the tokenizer's kind, where there is one.

    Raises:
        ValueError: for an entry that JSON has no value for, such as NaN.
    """
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    content = {
        "format": FORMAT,
        "format_version": 2 if files.keys() >= set(SPEC_FILES) else 1,
        "keras_int8nmt_version": __version__,
        "state": state,
        "precision": precision,
        **entries,
        "conversion_report": conversion_report,
        **({"search_defaults": search_defaults.to_json()} if search_defaults else {}),
        **({} if tokenizer is None else {"tokenizer": tokenizer}),
        "files": files,
    }
    seal_card(folder, content)


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The model card of a folder, checked; the other files are not read."""
    path = Path(folder) / CARD_FILE
    put_back(path.parent)
    if not path.parent.is_dir():
        raise ModelFolderError(f"There is no model folder {str(path.parent)!r}.")
    if not path.is_file():
        raise ModelFolderError(f"{str(path.parent)!r} has no file {CARD_FILE}.")
    card = json_value(path, read_bytes(path, _MOST_CARD, ModelFolderError), ModelFolderError)
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelFolderError(f"{str(path)!r} is not the card of a keras-int8nmt model.")
    if card.get("format_version") not in FORMAT_VERSIONS:
        raise ModelFolderError(
            f"{str(path)!r} has format version {card.get('format_version')!r}; this release reads "
            f"versions {' and '.join(map(str, FORMAT_VERSIONS))}."
        )
    if card.get("card_sha256") != _card_sha256(card):
        raise ModelFolderError(
            f"{str(path)!r} was changed after it was written: its checksum differs."
        )
    _check_content(path, card)
    return card


def search_defaults_of(folder: str | os.PathLike[str], card: dict[str, Any]) -> SearchDefaults:
    """What a card says of a search with its model.

    Raises:
        ModelFolderError: where that is nothing that can be asked for.
    """
    try:
        return SearchDefaults.from_json(card.get("search_defaults", {}))
    except ValueError as error:
        raise ModelFolderError(f"{str(Path(folder) / CARD_FILE)!r}: {error}.") from error


def update_card(folder: str | os.PathLike[str], entries: dict[str, Any]) -> None:
    """Adds entries, such as `bleu`, to the card of a saved model."""
    refuse_own_keys(entries, "not for callers to set")
    seal_card(Path(folder), {**read_card(folder), **entries})


def seal_card(folder: Path, content: dict[str, Any]) -> None:
    """Writes a card with its checksum; one that is there is replaced at once or not at all."""
    content = {key: value for key, value in content.items() if key != "card_sha256"}
    content["card_sha256"] = _card_sha256(content)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    draft = folder / f".{CARD_FILE}.new"
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, folder / CARD_FILE)


def has_spec(card: dict[str, Any]) -> bool:
    """Whether a folder holds a model spec: it translates without Keras."""
    return card["files"].keys() >= set(SPEC_FILES)


def require_keras_model(folder: str | os.PathLike[str], card: dict[str, Any]) -> None:
    """Raises ModelFolderError for a folder that holds a model spec alone; Keras is not asked."""
    if MODEL_FILE not in card["files"]:
        raise ModelFolderError(
            f"{str(folder)!r} was saved without Keras and holds no {MODEL_FILE}; load_translator "
            "translates with it."
        )


def check_files(folder: Path, card: dict[str, Any]) -> None:
    """Raises ModelFolderError naming a file that is missing, truncated, changed or put in."""
    for name in card["files"]:
        check_file(folder, card, name)
    check_nothing_put_in(folder, card)


def check_nothing_put_in(folder: Path, card: dict[str, Any]) -> None:
    """Raises ModelFolderError naming a tokenizer's file that was not saved with the model."""
    for name in tokenizer_files():
        if name not in card["files"] and os.path.lexists(folder / name):
            raise ModelFolderError(f"{str(folder / name)!r} is not a file of the saved model.")


def fingerprint(folder: str | os.PathLike[str]) -> str:
    """Tells one model folder from another by what is in its files, wherever it lies.

    Of a folder that has no card all files are read, to their ends: a second or two for a gigabyte.
    Of one that has a card, the card tells their checksums; loading finds out whether they are
    right.
    """
    folder = Path(folder)
    put_back(folder)
    if not folder.exists():
        raise ModelFolderError(f"There is no model folder {str(folder)!r}.")
    if folder.is_file():
        content = {folder.name: _sha256(folder)}
    elif (folder / CARD_FILE).is_file():
        content = read_card(folder)["files"]
    else:
        content = {p.name: _sha256(p) for p in sorted(folder.iterdir()) if p.is_file()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _card_sha256(card: dict[str, Any]) -> str:
    rest = {key: value for key, value in card.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_content(path: Path, card: dict[str, Any]) -> None:
    """What loading relies on: a card with a good checksum may still be of other hands."""
    for key in ("state", "precision", "conversion_report", "files"):
        if key not in card:
            raise ModelFolderError(f"{str(path)!r} lacks the entry {key!r}.")
    if not isinstance(card.get("tokenizer"), str | None):
        raise ModelFolderError(f'"tokenizer" of {str(path)!r} must be text.')
    files, optional = card["files"], tokenizer_files()
    known = {MODEL_FILE, *SPEC_FILES, *optional}
    whole = isinstance(files, dict) and (MODEL_FILE in files or files.keys() >= set(SPEC_FILES))
    # What a tokenizer's files are is not known here where nobody has registered its kind.
    is_foreign = "tokenizer" in card and not is_known(card["tokenizer"])
    if not whole or not all(
        name in known or (is_foreign and name != CARD_FILE and is_file_name(name)) for name in files
    ):
        raise ModelFolderError(
            f'"files" of {str(path)!r} must list {MODEL_FILE} or {" and ".join(SPEC_FILES)}, and '
            f"may list {', '.join(optional)}."
        )
    for name, entry in files.items():
        entry = entry if isinstance(entry, dict) else {}
        size, digest = entry.get("bytes"), entry.get("sha256")
        if type(size) is not int or not 0 <= size <= MOST_BYTES or not isinstance(digest, str):
            raise ModelFolderError(
                f"{str(path)!r} lacks the size, at most {MOST_BYTES}, or the SHA-256 of {name}."
            )
    for key in ("state", "precision"):
        if not isinstance(card[key], str):
            raise ModelFolderError(f"{key!r} of {str(path)!r} must be text.")
    report = card["conversion_report"]
    if report is not None and not isinstance(report, dict):
        raise ModelFolderError(f'"conversion_report" of {str(path)!r} must be an object or null.')


def check_file(folder: Path, card: dict[str, Any], name: str, *, size_only: bool = False) -> None:
    """Raises ModelFolderError where a file of a folder is missing, truncated or changed.

    Args:
        folder: The folder.
        card: Its card.
        name: One of its files.
        size_only: Whether the content is not looked at.
    """
    path, expected = folder / name, card["files"][name]
    if not path.is_file():
        raise ModelFolderError(f"{str(path.parent)!r} has no file {path.name}.")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise ModelFolderError(
            f"{str(path)!r} has {size} bytes and should have {expected['bytes']}: it is "
            "truncated or was replaced."
        )
    if not size_only and _sha256(path)["sha256"] != expected["sha256"]:
        raise ModelFolderError(
            f"{str(path)!r} was changed after it was written: its SHA-256 differs."
        )


def _sha256(path: Path) -> dict[str, Any]:
    digest, size, piece = hashlib.sha256(), 0, memoryview(bytearray(_PIECE))
    with open_regular(path, ModelFolderError) as file:
        while count := file.readinto(piece):  # type: ignore[attr-defined]
            digest.update(piece[:count])
            size += count
            if size > MOST_BYTES:
                raise ModelFolderError(f"{str(path)!r} has more than {MOST_BYTES} bytes.")
    return {"bytes": size, "sha256": digest.hexdigest()}
