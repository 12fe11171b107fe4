"""Faces: packages whose public names are loaded on first use, so that importing them is light.

Type checkers don't run this: for them a face imports its names under `TYPE_CHECKING` and lists them
in an `__all__` that is not computed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_face(
    package: str,
    homes: Mapping[str, str],
    *,
    unlisted: Mapping[str, str] | None = None,
    present: Iterable[str] = (),
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: The package's `__name__`.
        homes: The module of each public name, below `keras_int8nmt`.
        unlisted: Likewise, of names that can be imported but that nobody looks for.
        present: Public names that are there already.

    Returns:
        The two functions. `__dir__` lists the public names alone, so that completion shows no
        internal module.
    """

    every = {**homes, **(unlisted or {})}

    def load(name: str) -> Any:
        if name not in every:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"keras_int8nmt.{every[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*homes, *present})

    return load, names
