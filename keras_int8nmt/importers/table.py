"""The foreign formats: one row each, and the front that opens whatever lies in a folder.

To add a format, write a file with a function that loads its model and add a row to `FORMATS`. If it
has a tokenizer of its own, that is another file, with a row in `tokenizers.kinds` for saving it.

`from_tfmot` is no row: it imports a live model of another library, without a tokenizer, and of no
folder that could be recognised.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Format(NamedTuple):
    """A format of model folders that another program writes.

    Attributes:
        name: What it is called.
        mark: The file by which `recognises` goes first of all, for the message on other folders.
        recognises: Whether a folder is one, told by what is in it.
        load: Module and name of the function that loads a model, imported when it is needed:
            `function(folder, quant=...)` gives a Keras model.
        tokenizer: Module and name of what makes the tokenizer of a folder, or None.
        packages: What must be installed, by their import names.
        extra: The extra of this package that installs them.
    """

    name: str
    mark: str
    recognises: Callable[[Path], bool]
    load: tuple[str, str]
    tokenizer: tuple[str, str] | None = None
    packages: tuple[str, ...] = ()
    extra: str = ""


def has_file(name: str) -> Callable[[Path], bool]:
    """A `recognises` that looks for one file."""
    return lambda folder: (folder / name).is_file()


# The first one that recognises a folder has it: particular formats before general ones.
FORMATS = [
    Format(
        name="Marian",
        mark="config.json",
        # Whatever else `transformers` writes is refused by what its config.json says.
        recognises=has_file("config.json"),
        load=("keras_int8nmt.importers.marian", "load_marian"),
        tokenizer=("keras_int8nmt.tokenizers.marian", "MarianTokenizer"),
    ),
]


def format_of(folder: str | os.PathLike[str]) -> Format | None:
    """The format of a folder; None where none recognises it."""
    return next((each for each in FORMATS if each.recognises(Path(folder))), None)


def known_marks() -> list[str]:
    """Each format's mark and name, for a message on a folder that is of none."""
    return [f"{each.mark} (of a {each.name} model)" for each in FORMATS]


def open_foreign(folder: Path, found: Format, *, quant: bool = True) -> tuple[Any, Any]:
    """Model and tokenizer of a folder in a foreign format.

    Args:
        folder: The folder.
        found: What `format_of` said.
        quant: Whether the model can be calibrated and converted.

    Returns:
        `(model, tokenizer)`; the tokenizer is None where the format has none.

    Raises:
        ImportError: naming a package that is not installed.
        KerasInt8nmtError: the format's own, naming what is missing, damaged or not supported.
    """
    require_packages(f"A {found.name} model", found.packages, found.extra)
    model = _imported(*found.load)(folder, quant=quant)
    return model, None if found.tokenizer is None else _imported(*found.tokenizer)(folder)


def _imported(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def require_packages(who: str, packages: Iterable[str], extra: str) -> None:
    """Raises ImportError saying how to install what `who` needs and is not there."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{who} needs {' and '.join(missing)}, which can't be found: "
            f'pip install "keras-int8nmt[{extra}]".'
        )
