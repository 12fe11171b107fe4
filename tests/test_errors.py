"""The package's errors: each has the common base, and is one of Python's errors as well."""

from __future__ import annotations

import ast
import builtins
import importlib
from pathlib import Path

import pytest

import keras_int8nmt
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.lines import TextFileError, read_lines

PACKAGE = Path(keras_int8nmt.__file__).resolve().parent
PYTHONS = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def error_classes() -> list[tuple[str, str]]:
    """`(module, class)` of every class that looks like an error: by its name or by its bases."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            names = [node.name, *(ast.unparse(base).rpartition(".")[2] for base in node.bases)]
            if any(n in PYTHONS or n.endswith(("Error", "Exception", "Warning")) for n in names):
                module = path.relative_to(PACKAGE.parent).with_suffix("")
                found.append((".".join(module.parts).removesuffix(".__init__"), node.name))
    return found


ERRORS = error_classes()


def test_errors_are_found():
    assert ("keras_int8nmt.conversion.errors", "ConversionError") in ERRORS
    assert ("keras_int8nmt.thresholds.errors", "NotCalibratedError") in ERRORS


@pytest.mark.parametrize(("module", "name"), ERRORS, ids=[f"{m}.{n}" for m, n in ERRORS])
def test_every_error_of_the_package_has_the_base(module, name):
    error = getattr(importlib.import_module(module), name)
    assert issubclass(error, KerasInt8nmtError)
    assert error.__doc__ or name.startswith("_")


def test_an_error_is_caught_by_the_base_and_by_pythons_own(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes(b"\xfc\n")
    for kind in (KerasInt8nmtError, ValueError, TextFileError):
        with pytest.raises(kind, match="line 1: not UTF-8"):
            read_lines(path)
