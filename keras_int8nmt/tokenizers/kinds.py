"""The tokenizers that are saved with a model: one row a kind, known by its files.

To add one, write its class, which is made of a folder and writes its files into one,
`save(folder)`, and add a row to `KINDS`. Whoever has a class of their own adds a row for their
process with `register_tokenizer`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.tokenizers.errors import TokenizerError

_Class = TypeVar("_Class", bound=type)


class TokenizerKind(NamedTuple):
    """A kind of tokenizer.

    Attributes:
        mark: A file that is there in any case, and that no other kind has.
        files: All files that one may consist of, the mark among them.
        module: Of the class, which is imported when it is needed.
        name: The kind's, which a model card says; of a row here its class has it.
        load: The method of the class that makes one of a folder; "": the class itself does.
        registered: The class, of a kind that was registered in this process.
    """

    mark: str
    files: tuple[str, ...]
    module: str
    name: str
    load: str = ""
    registered: type | None = None

    def of(self, tokenizer: Any) -> bool:
        """Whether a tokenizer is of this kind, or of a class derived from its class."""
        if self.registered is not None:
            return isinstance(tokenizer, self.registered)
        names = {(kind.__module__, kind.__name__) for kind in type(tokenizer).__mro__}
        return (self.module, self.name) in names

    def open(self, folder: Path) -> Any:
        """The tokenizer of a folder."""
        made = self.registered or getattr(importlib.import_module(self.module), self.name)
        make = getattr(made, self.load) if self.load else made
        try:
            return make(folder)
        except (KerasInt8nmtError, ImportError, MemoryError):
            raise
        except Exception as error:
            if self.registered is None:
                raise
            # Whatever somebody's class raises: it is of this folder.
            raise TokenizerError(
                f"The tokenizer of {str(folder)!r} can't be opened: {self.name} raised "
                f"{type(error).__name__}: {error}"
            ) from error


KINDS = [
    TokenizerKind(
        "pieces.json",
        ("pieces.json", "pieces.spm", "pieces.target.spm", "pieces.bpe"),
        "keras_int8nmt.tokenizers.piece_tokenizer",
        "PieceTokenizer",
    ),
    TokenizerKind(
        "source.bpe",
        (
            *("source.bpe", "target.bpe", "source.bpe.vocab", "target.bpe.vocab"),
            *("vocab.json", "target_vocab.json", "tokenizer_config.json"),
        ),
        "keras_int8nmt.tokenizers.subword_tokenizer",
        "SubwordNMTTokenizer",
    ),
    TokenizerKind(
        "source.spm",
        # The last three are not in every folder.
        (
            *("source.spm", "target.spm", "vocab.json"),
            *("target_vocab.json", "tokenizer_config.json", "added_tokens.json"),
        ),
        "keras_int8nmt.tokenizers.marian",
        "MarianTokenizer",
    ),
    TokenizerKind(
        "source.model",
        ("source.model", "target.model", "sentencepiece.json"),
        "keras_int8nmt.tokenizers.sentencepiece_tokenizer",
        "SentencePieceTokenizer",
        load="load",
    ),
    TokenizerKind(
        "tokenizer.json",
        ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        "keras_int8nmt.tokenizers.hugging_face",
        "HuggingFaceTokenizer",
    ),
    TokenizerKind(
        "word_piece.json",
        ("word_piece.json",),
        "keras_int8nmt.tokenizers.word_piece",
        "WordPieceTokenizer",
        load="load",
    ),
]


def register_tokenizer(
    name: str, *, files: Collection[str], load: str = ""
) -> Callable[[_Class], _Class]:
    """A decorator of a class of your own, whose objects are saved with models then.

    Nothing that a folder says makes code run: whoever loads a model with such a tokenizer imports
    the module that registers its class first, as `keras-int8nmt --import MODULE` does.

    Args:
        name: What a model card calls it. Of two classes of a name, as in a notebook, the later one
            counts.
        files: Names of all files that it may consist of; the first one is always there.
        load: The class method that makes one of a folder, `Class.load(folder)`; "": `Class(folder)`
            does.

    Raises:
        ValueError: for a name that one of this package's kinds has, or names that are no files'.

    Example:

        >>> @register_tokenizer("letters", files=["letters.txt"])
        ... class Letters:
        ...     pad_id, eos_id = 0, 1
        ...     def __init__(self, folder):
        ...         self.letters = (Path(folder) / "letters.txt").read_text()
        ...     def save(self, folder):
        ...         (Path(folder) / "letters.txt").write_text(self.letters)
        ...     def encode(self, text):
        ...         return [2 + self.letters.index(c) for c in text if c in self.letters] + [1]
        ...     def decode(self, ids):
        ...         return "".join(self.letters[i - 2] for i in ids if i > 1)
    """
    names = tuple(files) if not isinstance(files, str) else ()
    if not names or not all(isinstance(each, str) and is_file_name(each) for each in names):
        raise ValueError(f"`files` must be names of files; received {files!r}.")
    if not isinstance(name, str) or not name:
        raise ValueError(f"`name` must be text; received {name!r}.")
    if any(kind.name == name and kind.registered is None for kind in KINDS):
        raise ValueError(f"{name!r} is a kind of tokenizer of this package.")

    def register(made: _Class) -> _Class:
        KINDS[:] = [kind for kind in KINDS if kind.name != name]
        KINDS.append(TokenizerKind(names[0], names, made.__module__, name, load, made))
        return made

    return register


def is_file_name(name: str) -> bool:
    """Whether a name is that of a file right in a folder."""
    return name not in ("", ".", "..") and not set("\0\\/") & set(name) and len(name) < 256


def kind_of(tokenizer: Any) -> TokenizerKind | None:
    """The kind of a tokenizer, None where there is none; the one registered last goes first."""
    return next((kind for kind in reversed(KINDS) if kind.of(tokenizer)), None)


def tokenizer_files() -> tuple[str, ...]:
    """The names of all files that tokenizers consist of."""
    return tuple(dict.fromkeys(name for kind in KINDS for name in kind.files))


def open_tokenizer(mark: str, folder: Path) -> Any:
    """The tokenizer of the kind with this mark, made of a folder."""
    return next(kind for kind in KINDS if kind.mark == mark).open(folder)


def tokenizer_class(mark: str) -> Any:
    """The class of the kind with this mark, for importers that make one of other files."""
    kind = next(kind for kind in KINDS if kind.mark == mark)
    return getattr(importlib.import_module(kind.module), kind.name)


def is_known(name: str) -> bool:
    """Whether there is a kind of this name in this process."""
    return any(kind.name == name for kind in KINDS)


def load_tokenizer(folder: Path, files: Collection[str], name: str | None = None) -> Any:
    """The tokenizer of a folder.

    Args:
        folder: The folder.
        files: Names of its files that count.
        name: The kind's, where a card says it; None: it is known by its mark.

    Returns:
        The tokenizer, or None where no kind has its mark among `files`.

    Raises:
        TokenizerError: naming a file that is missing or corrupt, or a kind that is not registered.
    """
    if name is not None and not is_known(name):
        raise TokenizerError(
            f"The tokenizer of {str(folder)!r} is of the kind {name[:100]!r}, which is not this "
            "package's: import the module that registers it, with register_tokenizer, before the "
            "folder is opened; on the command line `keras-int8nmt --import MODULE` does."
        )
    for kind in KINDS:
        if name == kind.name or (name is None and kind.mark in files):
            if kind.mark not in files:
                raise TokenizerError(f"{str(folder)!r} has no file {kind.mark} of its tokenizer.")
            return kind.open(folder)
    return None
