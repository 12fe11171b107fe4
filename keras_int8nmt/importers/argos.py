"""Packages of Argos Translate, the folder or the `.argosmodel`: model, tokenizer, search."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.argos_package import model_folder, package_folder, read_metadata
from keras_int8nmt.importers.ct2_facts import describe_model
from keras_int8nmt.importers.ct2_settings import CTranslate2Model, open_model
from keras_int8nmt.importers.ct2_tokenizer import tokenizer_of
from keras_int8nmt.importers.errors import CTranslate2FormatError
from keras_int8nmt.importers.weights_file import short
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.token_bans import FirstToken
from keras_int8nmt.tokenizers.piece_tokenizer import PieceTokenizer

if TYPE_CHECKING:
    from keras_int8nmt.models.transformer import Transformer

_LANGUAGES = ("from_code", "to_code")


def load_argos(path: str | os.PathLike[str], quant: bool = True) -> Transformer:
    """Loads the model of a package, see `load_ctranslate2`.

    Args:
        path: The archive, or the folder that it was unpacked to.
        quant: As in `build_transformer`.

    Returns:
        A `Transformer`. Where translations begin with a token that `metadata.json` says
        (`target_prefix`), its `search_defaults` ask for it.

    Raises:
        CTranslate2FormatError: naming what is damaged, missing or not supported.
    """
    from keras_int8nmt.importers.ctranslate2 import load_ctranslate2

    with package_folder(Path(path)) as folder:
        defaults = _search_defaults(folder)
        model = load_ctranslate2(model_folder(folder), quant=quant)
    model.search_defaults = defaults
    return model


def open_tokenizer(path: Path) -> PieceTokenizer:
    """The tokenizer of a package.

    Raises:
        CTranslate2FormatError, TokenizerError: naming what is damaged, missing or not supported.
        ImportError: where words are those of Moses' tokenizer and `sacremoses` is not installed.
    """
    with package_folder(path) as folder:
        told, place = read_metadata(folder), model_folder(folder)
        prefix = told.get("target_prefix") or None
        return tokenizer_of(place, open_model(place), folder, prefix, _languages(told))


def search_defaults(path: Path) -> SearchDefaults:
    """What a package asks of a search: the token that each translation begins with, if any.

    Raises:
        CTranslate2FormatError: where it is none of the model's.
    """
    with package_folder(path) as folder:
        return _search_defaults(folder)


def describe(path: Path) -> dict[str, Any]:
    """Figures of a package; what opening it would refuse is told under "problems"."""
    facts: dict[str, Any] = {}
    try:
        with package_folder(path) as folder:
            told = read_metadata(folder)
            languages = _languages(told)
            if all(isinstance(each, str) for each in languages):
                facts["languages"] = " to ".join(ascii(each)[1:-1][:20] for each in languages)
            prefix = told.get("target_prefix") or None
            facts |= describe_model(model_folder(folder), folder, prefix, languages)
            if "problems" in facts:
                problems = [each.replace(str(folder), str(path)) for each in facts["problems"]]
                facts["problems"] = problems
            else:
                facts["search"] = _search_defaults(folder).to_json()
    except KerasInt8nmtError as error:
        facts["problems"] = [*facts.get("problems", []), str(error)]
    return facts


def _search_defaults(folder: Path) -> SearchDefaults:
    prefix = read_metadata(folder).get("target_prefix")
    if not prefix:
        return SearchDefaults()
    model: CTranslate2Model = open_model(model_folder(folder))
    if prefix not in model.tokens.target:
        raise CTranslate2FormatError(
            f"metadata.json of {str(folder)!r} has translations begin with {short(prefix)}, which "
            "is no token of the target."
        )
    size = model.settings["target_vocabulary_size"]
    first = FirstToken(model.tokens.target.index(prefix), size)
    return SearchDefaults({"token_filters": (first,)})


def _languages(told: dict[str, Any]) -> list[Any]:
    return [told.get(name) for name in _LANGUAGES]
