"""A `ModelSpec` on disk: `spec.json` holds the settings, `spec.safetensors` the tensors.

Read without a package of its own: a safetensors file is the length of a header, the header in JSON,
and the tensors' bytes one after another. Tensors are mapped, not read; nothing in either file is
run. Every number in the header is checked against the file before it is used; docs/model_spec.md
says what else a reader must check.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from keras_int8nmt._memory import address_of, dtype_of
from keras_int8nmt._untrusted import json_value, open_regular, read_bytes
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.runtime.model_spec import FORMAT_VERSION, ModelSpec
from keras_int8nmt.runtime.safetensors_header import LENGTH_BYTES, parse_header

SETTINGS_FILE, TENSORS_FILE = "spec.json", "spec.safetensors"
SPEC_FILES = (SETTINGS_FILE, TENSORS_FILE)
FORMAT = "keras-int8nmt spec"

# What safetensors calls a type, the letter that Python has for it, and its bytes.
_FORMS = {"F32": ("f", 4), "I8": ("b", 1), "U8": ("B", 1)}
_NAMES = {"float32": "F32", "int8": "I8", "uint8": "U8"}
# Those of a model of a hundred layers are a tenth of it.
_MOST_JSON = 16 << 20
# Bytes from which on a tensor is looked for among the others.
_LEAST_SAME = 4096


class SpecFileError(KerasInt8nmtError, ValueError):
    """A spec can't be read; the message names the file and what is wrong."""


def write_spec(spec: ModelSpec, folder: str | os.PathLike[str]) -> None:
    """Writes a spec with plain weights into a folder.

    Args:
        spec: Its weights are not packed, so that any CPU can load them.
        folder: Is there; files of these names are replaced.

    Raises:
        ValueError: for packed weights.
    """
    if spec.packed:
        raise ValueError("A spec is written with plain weights; this one's are packed.")
    folder = Path(folder)
    same = _same(spec.tensors)
    content = {"format": FORMAT, "settings": dict(spec.settings), "same": same}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    header: dict[str, Any] = {}
    stored = [(name, tensor) for name, tensor in spec.tensors.items() if name not in same]
    # Types of more bytes first: each tensor begins at a multiple of the bytes of its elements.
    ordered = sorted(stored, key=lambda item: -item[1].itemsize)
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        dtype, shape = dtype_of(tensor), list(tensor.shape)
        assert dtype is not None, "a ModelSpec has no others"
        header[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    # So do the first, for whoever maps the file.
    encoded += b" " * (-(len(encoded) + LENGTH_BYTES) % 64)
    with (folder / TENSORS_FILE).open("wb") as file:
        file.write(len(encoded).to_bytes(LENGTH_BYTES, "little"))
        file.write(encoded)
        for _, tensor in ordered:
            file.write(memoryview(tensor))


def read_spec(folder: str | os.PathLike[str]) -> ModelSpec:
    """The spec of a folder, its tensors mapped from the file.

    Raises:
        SpecFileError: for a file that is missing, damaged, of another format or version, or holds
            what no spec may hold.
    """
    settings, same = _read_settings(Path(folder) / SETTINGS_FILE)
    tensors = _read_tensors(Path(folder) / TENSORS_FILE)
    for name, other in same.items():
        if name in tensors or other not in tensors or other in same:
            raise SpecFileError(
                f"{str(Path(folder) / SETTINGS_FILE)!r}: {name!r} can't be the same as {other!r}."
            )
    tensors.update({name: tensors[other] for name, other in same.items()})
    try:
        return ModelSpec(settings, tensors, packed=False)
    except TypeError as error:
        raise SpecFileError(f"{str(Path(folder) / SETTINGS_FILE)!r}: {error}") from error


def forget(tensor: memoryview) -> None:
    """Gives back the memory of a mapped tensor that is not needed any more; it can still be read.

    What was read of a file counts as memory of the process until then.
    """
    mapped = tensor.obj
    if not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    start = address_of(tensor) - address_of(memoryview(mapped))
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (start + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
    if length > 0:
        mapped.madvise(mmap.MADV_DONTNEED, first, length)


def _same(tensors: Mapping[str, memoryview]) -> dict[str, str]:
    """Large tensors that have the bytes of an earlier one, and which that is: tied tables."""
    same: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        if tensor.nbytes >= _LEAST_SAME:
            content = hashlib.sha256(tensor).digest()
            other = first.setdefault((dtype_of(tensor), tensor.shape, content), name)
            if other != name:
                same[name] = other
    return same


def _read_settings(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings, and the tensors that are the same as another."""
    content = json_value(path, _bytes(path, _MOST_JSON), SpecFileError)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SpecFileError(f"{str(path)!r} holds no settings of a {FORMAT}.")
    settings = content.get("settings")
    if not isinstance(settings, dict):
        raise SpecFileError(f'{str(path)!r} lacks the entry "settings".')
    version = settings.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise SpecFileError(
            f"{str(path)!r} has format version {version!r}; this release reads {FORMAT_VERSION}."
        )
    for name, value in settings.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not _is_plain(name) or (isinstance(value, str) and not _is_plain(value)):
            raise SpecFileError(f"{str(path)!r}: the setting {name!r} is not of plain letters.")
        if whole and not -(1 << 63) <= value < 1 << 63:
            raise SpecFileError(f"{str(path)!r}: the setting {name!r} has more than 64 bits.")
    same = content.get("same", {})
    if not isinstance(same, dict) or not all(
        isinstance(other, str) and _is_plain(name) for name, other in same.items()
    ):
        raise SpecFileError(f'{str(path)!r}: the entry "same" must give names by their names.')
    return settings, same


def _is_plain(text: str) -> bool:
    """Whether C reads the same text: names and words of a spec are ASCII."""
    return text.isascii() and "\0" not in text


def _read_tensors(path: Path) -> dict[str, memoryview]:
    if not path.is_file():
        raise SpecFileError(f"There is no file {str(path)!r}.")
    with open_regular(path, SpecFileError) as file:
        # Of what was opened: the name may lead to another file by now.
        size = os.fstat(file.fileno()).st_size
        if size < LENGTH_BYTES:
            raise SpecFileError(f"{str(path)!r} is truncated: it has {size} bytes.")
        # Private: ctypes takes an address of nothing that can't be written; nobody writes.
        content = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY))
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    header = parse_header(path, length, size, lambda: content[LENGTH_BYTES:start], SpecFileError)
    data = content[start:]
    tensors = {}
    for name, (dtype, shape, begin, end) in header.items():
        # What has no elements or no dimension is nothing that a model is made of.
        if dtype not in _FORMS or not _is_plain(name) or not math.prod(shape) or not shape:
            raise SpecFileError(f"{str(path)!r}: the entry {name!r} of the header is no tensor.")
        form, itemsize = _FORMS[dtype]
        piece = data[begin:end]
        # A mapping begins at a page.
        if (start + begin) % itemsize:
            piece = memoryview(bytearray(piece))
        tensors[name] = piece.cast(cast(Any, form), list(shape))
    return tensors


def _bytes(path: Path, most: int) -> bytes:
    if not path.is_file():
        raise SpecFileError(f"There is no file {str(path)!r}.")
    return read_bytes(path, most, SpecFileError)
