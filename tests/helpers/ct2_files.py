"""Writes CTranslate2's `model.bin` in any version of its layout, variable by variable."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.importers.ct2_file import CTranslate2File

TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
_SIZES = {"float32": 4, "int16": 2, "int8": 1}


class BFloat16:
    """The upper halves of float32."""

    def __init__(self, values: np.ndarray) -> None:
        self.shape = values.shape
        self.dtype = "bfloat16"
        self._halves = (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2")

    def tobytes(self) -> bytes:
        return self._halves.tobytes()


def model_bin(
    variables: Mapping[str, Any],
    *,
    version: int = 6,
    spec: str = "TransformerSpec",
    revision: int = 7,
    aliases: Mapping[str, str] | None = None,
) -> bytes:
    """The content of a file."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value.encode()) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text(spec), struct.pack("<I", revision)]
    parts.append(struct.pack("<I", len(variables)))
    for name, value in variables.items():
        content, dtype = value.tobytes(), str(value.dtype)
        shape = tuple(value.shape)
        parts += [text(name), struct.pack(f"<B{len(shape)}I", len(shape), *shape)]
        if version >= 4:
            parts.append(struct.pack("<BI", TYPES.index(dtype), len(content)))
        else:
            size = _SIZES[dtype]
            parts.append(struct.pack("<BI", size, len(content) // size))
        parts.append(content)
    if version >= 3:
        parts.append(struct.pack("<I", len(aliases or {})))
        parts += [text(alias) + text(name) for alias, name in (aliases or {}).items()]
    return b"".join(parts)


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """The variables of a file by their names, an alias as often as it is there."""
    content = path.read_bytes()
    return {
        name: np.frombuffer(
            content, np.dtype(v.dtype).newbyteorder("<"), count=v.size, offset=v.offset
        ).reshape(v.shape)
        for name, v in CTranslate2File(path, ValueError).variables.items()
    }


def change_config(folder: Path, **entries: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
