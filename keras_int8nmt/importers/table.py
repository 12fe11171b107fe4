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
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt._untrusted import inside
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.fit import check_fit, lacking_message
from keras_int8nmt.tokenizers.kinds import tokenizer_files


class Format(NamedTuple):
    """A format of model folders that another program writes.

    Attributes:
        name: What it is called.
        mark: The file by which `recognises` goes first of all, for the message on other folders.
        recognises: Whether a folder is one, told by what is in it.
        load: Module and name of the function that loads a model, imported when it is needed:
            `function(folder, quant=...)` gives a Keras model.
        tokenizer: Module and name of what makes the tokenizer of a folder, or None; it may give
            None for a folder that has no files of one.
        packages: What must be installed, by their import names.
        extra: The extra of this package that installs them.
        describe: Module and name of what tells of a folder without Keras and without its weights:
            `function(folder)` gives figures by their names, under "problems" a list of what is
            missing or not supported, and under "notes" of what is warned of; or None.
        search_defaults: Module and name of what tells, likewise, what a folder asks of a search:
            `function(folder)` gives `SearchDefaults`; or None.
        unpacked: Module and name of a context manager, `function(path)`, of a format that has
            archives: the folder that the others read, so that an archive is unpacked once; or None.
    """

    name: str
    mark: str
    recognises: Callable[[Path], bool]
    load: tuple[str, str]
    tokenizer: tuple[str, str] | None = None
    packages: tuple[str, ...] = ()
    extra: str = ""
    describe: tuple[str, str] | None = None
    search_defaults: tuple[str, str] | None = None
    unpacked: tuple[str, str] | None = None


def has_file(name: str) -> Callable[[Path], bool]:
    """A `recognises` that looks for one file."""
    return lambda folder: (folder / name).is_file()


def asked(module: str, name: str) -> Callable[[Path], bool]:
    """A `recognises` of a module, which a folder of ours never imports."""
    return lambda path: bool(_imported(module, name)(path))


# The first one that recognises a folder has it: particular formats before general ones.
FORMATS = [
    Format(
        name="Argos Translate",
        mark="metadata.json",
        recognises=asked("keras_int8nmt.importers.argos_package", "is_argos"),
        load=("keras_int8nmt.importers.argos", "load_argos"),
        tokenizer=("keras_int8nmt.importers.argos", "open_tokenizer"),
        describe=("keras_int8nmt.importers.argos", "describe"),
        search_defaults=("keras_int8nmt.importers.argos", "search_defaults"),
        unpacked=("keras_int8nmt.importers.argos_package", "package_folder"),
    ),
    Format(
        name="CTranslate2",
        mark="model.bin",
        # Before Marian's, since both may have a config.json.
        recognises=asked("keras_int8nmt.importers.ct2_vocabularies", "is_ctranslate2"),
        load=("keras_int8nmt.importers.ctranslate2", "load_ctranslate2"),
        tokenizer=("keras_int8nmt.importers.ct2_tokenizer", "open_tokenizer"),
        describe=("keras_int8nmt.importers.ct2_facts", "describe"),
    ),
    Format(
        name="Marian",
        mark="config.json",
        # Whatever else `transformers` writes is refused by what its config.json says.
        recognises=has_file("config.json"),
        load=("keras_int8nmt.importers.marian", "load_marian"),
        tokenizer=("keras_int8nmt.tokenizers.marian", "MarianTokenizer"),
        describe=("keras_int8nmt.importers.folder_facts", "describe"),
        search_defaults=("keras_int8nmt.importers.folder_facts", "search_defaults"),
    ),
    Format(
        name="raw Marian",
        mark="model.npz",
        recognises=asked("keras_int8nmt.importers.raw_marian_files", "is_raw_marian"),
        load=("keras_int8nmt.importers.raw_marian", "load_raw_marian"),
        tokenizer=("keras_int8nmt.importers.raw_marian_tokenizer", "open_tokenizer"),
        describe=("keras_int8nmt.importers.raw_marian_facts", "describe"),
        search_defaults=("keras_int8nmt.importers.raw_marian_facts", "search_defaults"),
    ),
]


def format_of(folder: str | os.PathLike[str]) -> Format | None:
    """The format of a folder; None where none recognises it."""
    return next((each for each in FORMATS if each.recognises(Path(folder))), None)


def known_marks() -> list[str]:
    """Each format's mark and name, for a message on a folder that is of none."""
    return [f"{each.mark} (of {each.name})" for each in FORMATS]


def open_foreign(
    path: Path, found: Format, *, quant: bool = True
) -> tuple[Any, Any, dict[str, Any]]:
    """Model and tokenizer in a foreign format, and what `describe_foreign` tells of it.

    Args:
        path: The folder, or the file of a format that is one.
        found: What `format_of` said.
        quant: Whether the model can be calibrated and converted.

    Returns:
        `(model, tokenizer, facts)`; the tokenizer is None where the format has none.

    Raises:
        ImportError: naming a package that is not installed.
        KerasInt8nmtError: the format's own, naming what is missing, damaged or not supported; and
            where the tokenizer is another model's.
    """
    require_packages(f"A {found.name} model", found.packages, found.extra)
    unpacked = nullcontext if found.unpacked is None else _imported(*found.unpacked)
    with unpacked(path) as folder:
        for name in tokenizer_files() if folder.is_dir() else ():
            inside(folder, name, TokenizerError)
        model = _imported(*found.load)(folder, quant=quant)
        tokenizer = None if found.tokenizer is None else _imported(*found.tokenizer)(folder)
        facts = describe_foreign(folder, found)
    if tokenizer is not None:
        check_fit(model, tokenizer)
        if (message := lacking_message(path, model, tokenizer)) is not None:
            warnings.warn(message, stacklevel=3)
    return model, tokenizer, facts


def describe_foreign(folder: Path, found: Format) -> dict[str, Any]:
    """Figures of a folder without Keras and its weights; {} of a format that can't tell any."""
    return {} if found.describe is None else dict(_imported(*found.describe)(folder))


def foreign_search_defaults(folder: Path, found: Format) -> SearchDefaults:
    """What a folder asks of a search."""
    if found.search_defaults is None:
        return SearchDefaults()
    defaults: SearchDefaults = _imported(*found.search_defaults)(folder)
    return defaults


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
