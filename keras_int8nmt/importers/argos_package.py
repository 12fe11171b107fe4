"""A package of Argos Translate: a folder, or a zip archive with one folder in it (`.argosmodel`).

It holds `metadata.json`, a CTranslate2 folder `model`, what makes pieces, and models of another
kind that find the ends of sentences, which are not read. Of an archive the files that are needed
are unpacked into a temporary folder, each bounded by what it can be in earnest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import inside, json_object, open_regular, read_bytes
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.ct2_file import NAME as MODEL_BIN
from keras_int8nmt.importers.ct2_vocabularies import CONFIG, VOCABULARIES
from keras_int8nmt.importers.errors import CTranslate2FormatError
from keras_int8nmt.importers.weights_file import WeightsFile, short
from keras_int8nmt.importers.zip_archive import Member, deflated_members
from keras_int8nmt.importers.zip_unpacking import unpack

METADATA, MODEL = "metadata.json", "model"
ENDING = ".argosmodel"
_BEGINS = b"PK\3\4"
_MOST_METADATA = 1 << 20
_MOST_SMALL = 64 << 20
_MOST_WEIGHTS = 16 << 30
# What else is read of a package; with how large it can be.
_SMALL = {
    METADATA: _MOST_METADATA,
    "sentencepiece.model": _MOST_SMALL,
    "bpe.model": _MOST_SMALL,
    **{f"{MODEL}/{name}": _MOST_SMALL for name in (CONFIG, *VOCABULARIES)},
}


def is_argos(path: Path) -> bool:
    """Whether that is a package, by its files; an archive that is damaged by its name as well."""
    if path.is_dir():
        return (path / METADATA).is_file() and (path / MODEL / MODEL_BIN).is_file()
    if not path.is_file():
        return False
    with open_regular(path, CTranslate2FormatError) as file:
        if file.read(len(_BEGINS)) != _BEGINS:
            return path.suffix == ENDING
    if path.suffix == ENDING:
        return True
    try:
        names = deflated_members(WeightsFile(path, CTranslate2FormatError))
    except CTranslate2FormatError:
        return False
    return any(name.endswith(f"/{MODEL}/{MODEL_BIN}") for name in names)


@contextmanager
def package_folder(path: Path) -> Iterator[Path]:
    """The folder of a package; of an archive one that is gone afterwards.

    An error of this package that is raised meanwhile names the archive in the place of that folder.

    Raises:
        CTranslate2FormatError: for an archive that is damaged, or holds something else.
    """
    if path.is_dir():
        yield path
        return
    file = WeightsFile(path, CTranslate2FormatError)
    members = deflated_members(file)
    top = _top(file, members)
    with tempfile.TemporaryDirectory(prefix="keras_int8nmt.") as place:
        folder = Path(place)
        (folder / MODEL).mkdir()
        for name, most in {**_SMALL, f"{MODEL}/{MODEL_BIN}": _MOST_WEIGHTS}.items():
            if (member := members.get(top + name)) is not None:
                unpack(file, top + name, member, folder / name, most)
        try:
            yield folder
        except KerasInt8nmtError as error:
            raise type(error)(str(error).replace(place, str(path))) from error


def model_folder(folder: Path) -> Path:
    """The CTranslate2 folder of a package, which must not lie elsewhere."""
    return inside(folder, MODEL, CTranslate2FormatError)


def read_metadata(folder: Path) -> dict[str, Any]:
    """What a package tells of itself.

    Raises:
        CTranslate2FormatError: where that is damaged, or it does not translate.
    """
    path = inside(folder, METADATA, CTranslate2FormatError)
    content = read_bytes(path, _MOST_METADATA, CTranslate2FormatError)
    told = json_object(path, content, CTranslate2FormatError)
    kind = told.get("type", "translate")
    if kind != "translate":
        raise CTranslate2FormatError(
            f"{str(path)!r} tells of a package of type {short(kind)}; only those that translate "
            "are read."
        )
    prefix = told.get("target_prefix", "")
    if not isinstance(prefix, str):
        raise CTranslate2FormatError(
            f"{str(path)!r}: 'target_prefix' must be text; it is {short(prefix)}."
        )
    return told


def _top(file: WeightsFile, members: Mapping[str, Member]) -> str:
    """The folder that a package is in, with a slash at its end."""
    found = [name.removesuffix(METADATA) for name in members if name.endswith(f"/{METADATA}")]
    found = [top for top in found if f"{top}{MODEL}/{MODEL_BIN}" in members]
    if len(found) != 1:
        raise file.refused(
            f"holds {len(found)} folders with {METADATA} and {MODEL}/{MODEL_BIN}; a package of "
            "Argos Translate has one"
        )
    return found[0]
