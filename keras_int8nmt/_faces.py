"""Faces: packages whose public names are loaded on first use, so that importing them is light."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_face(
    package: str, homes: Mapping[str, str], present: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: The package's `__name__`.
        homes: The module of each public name, below `keras_int8nmt`.
        present: Public names that are there already.

    Returns:
        The two functions. `__dir__` lists the public names alone, so that completion shows no
        internal module.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"keras_int8nmt.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*homes, *present})

    return load, names
