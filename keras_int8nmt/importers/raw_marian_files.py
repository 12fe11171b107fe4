"""Which files of a raw Marian model are which: in a folder, or in the zip of OPUS-MT."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from keras_int8nmt._untrusted import inside, read_bytes
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.option_lines import OptionLines
from keras_int8nmt.importers.weights_file import WeightsFile, short
from keras_int8nmt.importers.zip_archive import Member, deflated_members
from keras_int8nmt.importers.zip_unpacking import check_unpacked, unpack

MODEL = "special:model.yml"
_DECODER = "decoder.yml"
# Whatever is no weights; a vocabulary of a million pieces has a third of it.
MOST_TEXT = 64 << 20
_MOST_WEIGHTS = 1 << 36
_MOST_NAMES = 100_000
_VOCABULARY_SUFFIXES = (".yml", ".yaml", ".json", ".spm", ".fsv", ".txt")
_SIDES = {"source": ("src", "source"), "target": ("trg", "tgt", "target")}


class Place(Protocol):
    """Where the files are.

    Attributes:
        name: What messages call it.
        names: Of the files that there are.
    """

    name: str
    names: frozenset[str]

    def path(self, name: str) -> Path:
        """Where one of them can be read."""


class RawFiles(NamedTuple):
    """The files of a model.

    Attributes:
        place: Where they are.
        weights: The .npz.
        vocabularies: Of source and target, mostly one; none where there is none.
        segmentation: "source" and "target", by which the files of their SentencePiece models or
            BPE codes are known; none where there are none.
        decoder: What a search is asked for; None where there is no such file.
    """

    place: Place
    weights: str
    vocabularies: tuple[str, ...]
    segmentation: Mapping[str, str]
    decoder: OptionLines | None


def is_raw_marian(path: Path) -> bool:
    """Whether a path is a folder, an archive or an .npz of Marian; what is damaged may be one."""
    with contextlib.suppress(MarianFormatError, OSError):
        if path.is_dir():
            names = {each.name for each in path.iterdir()}
            weights = [name for name in names if name.endswith(".npz")]
            known = any(name == _DECODER or "vocab" in name for name in names)
            return bool(weights) and (known or any(_is_weights(path / name) for name in weights))
        if path.is_file():
            return _is_weights(path) or any(each.endswith(".npz") for each in _names(path))
    return False


def find_files(path: Path) -> RawFiles:
    """The files of a model.

    Args:
        path: A folder, an archive, or one .npz of several in a folder.

    Raises:
        MarianFormatError: naming what is missing, and what there is too much of.
    """
    if path.is_dir():
        place: Place = _Folder(path)
        given = None
    elif _is_weights(path):
        place, given = _Folder(path.parent), path.name
    else:
        place, given = _archive(path), None
    weights, decoder = given, None
    if _DECODER in place.names:
        decoder = _options(place, _DECODER)
    elif given is not None and f"{given}.{_DECODER}" in place.names:
        decoder = _options(place, f"{given}.{_DECODER}")
    if weights is None:
        weights = _weights(place, decoder)
        if decoder is None and f"{weights}.{_DECODER}" in place.names:
            decoder = _options(place, f"{weights}.{_DECODER}")
    vocabularies = _vocabularies(place, decoder)
    segmentation: dict[str, str] = {}
    for kind in ("spm", "bpe"):
        found = {side: f"{side}.{kind}" for side in _SIDES if f"{side}.{kind}" in place.names}
        if found and not segmentation:
            # One for both is called the source's.
            segmentation = {side: found.get(side, next(iter(found.values()))) for side in _SIDES}
    if vocabularies and all(name.endswith(".spm") for name in vocabularies):
        segmentation = dict(zip(_SIDES, vocabularies, strict=True))
    return RawFiles(place, weights, vocabularies, segmentation, decoder)


def read_text(place: Place, name: str) -> bytes:
    """The content of a file that is no weights."""
    return read_bytes(place.path(name), MOST_TEXT, MarianFormatError)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder, self.name = folder, str(folder)
        try:
            self.names = frozenset(each.name for each in folder.iterdir())
        except OSError as cause:
            raise MarianFormatError(f"{self.name!r} can't be read: {cause.strerror}.") from cause

    def path(self, name: str) -> Path:
        return inside(self._folder, name, MarianFormatError)


class _Archive:
    """An archive whose files are unpacked when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._file, self.name = WeightsFile(path, MarianFormatError), str(path)
        found = deflated_members(self._file)
        check_unpacked(self._file, found.values())
        weights = sorted(name for name in found if name.endswith(".npz"))
        if not weights:
            raise self._file.refused("has no .npz, the weights of a Marian model")
        # Where they lie in a folder of the archive, so do the others.
        folder = min(weights, key=lambda name: name.count("/")).rpartition("/")[0]
        self._members: dict[str, Member] = {}
        for name, member in found.items():
            parent, _, base = name.rpartition("/")
            if parent == folder:
                self._members[base] = member
        self.names = frozenset(self._members)
        unpacked = tempfile.mkdtemp(prefix="keras-int8nmt-")
        weakref.finalize(self, _remove, unpacked, os.getpid())
        # Messages name the file in there.
        self._folder = Path(unpacked) / path.name
        self._folder.mkdir()

    def path(self, name: str) -> Path:
        path = inside(self._folder, name, MarianFormatError)
        if not path.exists():
            most = _MOST_WEIGHTS if name.endswith(".npz") else MOST_TEXT
            draft = self._folder / f"{name}.part"
            draft.unlink(missing_ok=True)
            unpack(self._file, name, self._members[name], draft, most)
            draft.rename(path)
        return path


def _remove(folder: str, process: int) -> None:
    # What a forked child has inherited is its parent's.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


# The last archive, whose weights are unpacked once for all who ask; it goes with the process.
_last: dict[tuple[str, int, int, int], _Archive] = {}


def _archive(path: Path) -> _Archive:
    try:
        told = path.stat()
    except OSError as cause:
        raise MarianFormatError(f"{str(path)!r} can't be read: {cause.strerror}.") from cause
    key = (os.path.abspath(path), told.st_size, told.st_mtime_ns, os.getpid())
    if key not in _last:
        made = _Archive(path)
        _last.clear()
        _last[key] = made
    return _last[key]


def _names(path: Path) -> frozenset[str]:
    file = WeightsFile(path, MarianFormatError)
    if file.size < 4 or bytes(file.read(0, 4)) != b"PK\3\4":
        return frozenset()
    return frozenset(deflated_members(file))


def _is_weights(path: Path) -> bool:
    try:
        return f"{MODEL}.npy" in _names(path)
    except MarianFormatError:
        return False


def _options(place: Place, name: str) -> OptionLines:
    where = repr(f"{place.name}/{name}")
    return OptionLines(read_text(place, name), where, MarianFormatError)


def _weights(place: Place, decoder: OptionLines | None) -> str:
    """The one .npz that is meant."""
    there = sorted(name for name in place.names if name.endswith(".npz"))
    told = [_base(each) for each in decoder.items("models")] if decoder is not None else []
    if len(told) > 1:
        raise MarianFormatError(
            f"{place.name!r} is an ensemble of {len(told)} models, which is not supported; give "
            f"one of them: {', '.join(map(short, told[:5]))}."
        )
    found = [name for name in told if name in there] or [
        name for name in there if "optimizer" not in name
    ]
    if not found:
        raise MarianFormatError(f"{place.name!r} has no .npz, the weights of a Marian model.")
    if len(found) > 1:
        raise MarianFormatError(
            f"{place.name!r} has several models, and no decoder.yml says which is meant; give one "
            f"of them: {', '.join(map(short, found[:5]))}."
        )
    return found[0]


def _vocabularies(place: Place, decoder: OptionLines | None) -> tuple[str, ...]:
    """The vocabularies of source and target; () where there are none."""
    told = [_base(each) for each in decoder.items("vocabs")] if decoder is not None else []
    if told:
        for name in told:
            if name not in place.names:
                raise MarianFormatError(
                    f"{place.name!r} has no file {short(name)}, a vocabulary that decoder.yml "
                    "names."
                )
        if len(told) > 2:
            raise MarianFormatError(
                f"decoder.yml of {place.name!r} names {len(told)} vocabularies: models with "
                "several sources are not supported."
            )
        return told[0], told[-1]
    there = [
        name
        for name in sorted(place.names)
        if "vocab" in name and name.endswith(_VOCABULARY_SUFFIXES)
    ]
    if len(there) < 2:
        return (there[0], there[0]) if there else ()
    sides = {
        side: [name for name in there if set(words) & set(re.split(r"\W+", name))]
        for side, words in _SIDES.items()
    }
    if any(len(found) != 1 for found in sides.values()):
        raise MarianFormatError(
            f"{place.name!r} has several vocabularies, {', '.join(map(short, there[:5]))}, and no "
            "decoder.yml says whose they are."
        )
    return sides["source"][0], sides["target"][0]


def _base(path: str) -> str:
    return path.rpartition("/")[2]
