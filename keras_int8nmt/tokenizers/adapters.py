"""`as_tokenizer`: objects of other libraries as what translation asks of a tokenizer.

To add one, write a row: how such an object is known, without its library being imported, and what
makes a tokenizer of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

from keras_int8nmt.tokenizers.protocol import Tokenizer


class Adapter(NamedTuple):
    """What objects of one class of another library are taken for.

    Attributes:
        name: What such an object is called.
        knows: Whether an object is one.
        adapt: Module and name of what makes a tokenizer of it, imported when it is needed:
            `function(object, pad_id, eos_id)`, with the ids for where the object has none.
    """

    name: str
    knows: Callable[[Any], bool]
    adapt: tuple[str, str]


def _of(package: str, name: str) -> Callable[[Any], bool]:
    """Knows objects of a class, and of those derived from it, by its name."""
    return lambda each: any(
        kind.__name__ == name and kind.__module__.partition(".")[0] == package
        for kind in type(each).__mro__
    )


# A layer of KerasHub has no encode and no decode.
KERAS_HUB_METHODS = ("tokenize", "detokenize", "token_to_id", "id_to_token", "vocabulary_size")


def _package(each: Any) -> str:
    return type(each).__module__.partition(".")[0]


ADAPTERS = [
    Adapter(
        "a SentencePieceProcessor",
        _of("sentencepiece", "SentencePieceProcessor"),
        ("keras_int8nmt.tokenizers.sentencepiece_tokenizer", "of_processor"),
    ),
    Adapter(
        "a tokenizers.Tokenizer",
        _of("tokenizers", "Tokenizer"),
        ("keras_int8nmt.tokenizers.hugging_face", "of_tokenizer"),
    ),
    Adapter(
        "a fast tokenizer of transformers",
        lambda each: _package(each) == "transformers" and hasattr(each, "backend_tokenizer"),
        ("keras_int8nmt.tokenizers.hugging_face", "of_transformers"),
    ),
    Adapter(
        "a tokenizer of KerasHub",
        lambda each: all(callable(getattr(each, name, None)) for name in KERAS_HUB_METHODS),
        ("keras_int8nmt.tokenizers.keras_hub", "of_keras_hub"),
    ),
]
_METHODS, _IDS = ("encode", "decode"), ("pad_id", "eos_id")


def as_tokenizer(
    tokenizer: Any, *, pad_id: int | None = None, eos_id: int | None = None
) -> Tokenizer:
    """A tokenizer that a `Translator` can ask, of whatever tokenizes.

    `Translator`, `calibrate`, `autotune`, `parallel_dataset` and `save_folder` ask for it
    themselves, with the ids of their model.

    Args:
        tokenizer: Of this package's tokenizers or a user's own, which has what `Tokenizer` says: it
            is given back as it is. Or an object of another library: docs/tokenizers.md lists them.
        pad_id, eos_id: For an object that does not tell its ids.

    Raises:
        TypeError: for anything else; it says what is missing.
        TokenizerError: where the object can't be one, such as for want of an id.

    Example:

        >>> processor = sentencepiece.SentencePieceProcessor(model_file="spm.model")
        >>> as_tokenizer(processor, pad_id=0).encode("Good morning.")
        [45, 982, 7, 2]
    """
    for adapter in ADAPTERS:
        if adapter.knows(tokenizer):
            module, name = adapter.adapt
            made: Tokenizer = getattr(importlib.import_module(module), name)(
                tokenizer, pad_id, eos_id
            )
            return made
    missing = [f"{name}()" for name in _METHODS if not callable(getattr(tokenizer, name, None))]
    missing += [name for name in _IDS if not _is_id(getattr(tokenizer, name, None))]
    if missing:
        taken = ", ".join(adapter.name for adapter in ADAPTERS)
        raise TypeError(
            f"A {type(tokenizer).__name__} is no tokenizer: it lacks {', '.join(missing)}. "
            f"Expected is an object with encode(text), decode(ids), and the ids pad_id and eos_id, "
            f"or {taken}; see docs/tokenizers.md."
        )
    own: Tokenizer = tokenizer
    return own


def tokenizer_for(model: Any, tokenizer: Any) -> Tokenizer:
    """`as_tokenizer` with the ids of a model, which a tokenizer without them must have."""
    return as_tokenizer(
        tokenizer,
        pad_id=getattr(model, "pad_id", None),
        eos_id=getattr(model, "eos_id", None),
    )


def _is_id(value: Any) -> bool:
    try:
        index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)
