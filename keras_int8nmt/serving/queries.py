"""What a request asks for, checked against the service's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_int8nmt.serving.errors import RefusalError, shown
from keras_int8nmt.serving.settings import ServingSettings

AUTO = "auto"
FORMATS = ("text", "html")
PRECISIONS = ("", "int8", "float32", "mixed")
_LONGEST_WORD = 200


@dataclass(frozen=True)
class Query:
    """A checked request to translate.

    Attributes:
        texts: What to translate.
        is_list: Whether a list was sent, and is answered.
        source: Code of a language, or "auto".
        target: Code of a language.
        format: "text" or "html".
        alternatives: Further translations of each text.
        precision: Of the model, or empty: any.
    """

    texts: list[str]
    is_list: bool
    source: str
    target: str
    format: str = FORMATS[0]
    alternatives: int = 0
    precision: str = ""

    @classmethod
    def checked(cls, fields: Mapping[str, Any], settings: ServingSettings) -> Query:
        """The request that the fields of a body are; others than it knows are passed over.

        Raises:
            RefusalError: naming a field that is missing, wrong or beyond a limit.
        """
        texts, is_list = _texts(fields, settings)
        return cls(
            texts,
            is_list,
            *_languages(fields),
            format=_choice(fields, "format", FORMATS),
            alternatives=_alternatives(fields, settings.alternatives),
            precision=_choice(fields, "precision", PRECISIONS),
        )


def checked_text(fields: Mapping[str, Any], settings: ServingSettings) -> str:
    """The one text of a request to detect its language."""
    texts, _ = _texts(fields, settings)
    if len(texts) != 1:
        raise RefusalError(400, "`q` must be one text.")
    return texts[0]


def checked_file(fields: Mapping[str, Any], text: str, format: str) -> Query:
    """The request to translate the text of a file; `format` is what its name says."""
    precision = _choice(fields, "precision", PRECISIONS)
    return Query([text], False, *_languages(fields), format=format, precision=precision)


def key_of(fields: Mapping[str, Any], authorization: str) -> str:
    """The API key of a request: the field `api_key`, or the header `Authorization: Bearer KEY`."""
    key = fields.get("api_key", "")
    if isinstance(key, str) and key:
        return key
    kind, _, word = authorization.partition(" ")
    return word.strip() if kind.lower() == "bearer" else ""


def _texts(fields: Mapping[str, Any], settings: ServingSettings) -> tuple[list[str], bool]:
    given = fields.get("q")
    if given is None:
        raise RefusalError(400, "`q` is missing: the text to translate, or a list of them.")
    texts = given if isinstance(given, list) else [given]
    if len(texts) > settings.texts:
        raise RefusalError(413, f"`q` has {len(texts)} texts; at most {settings.texts} are taken.")
    for text in texts:
        if not isinstance(text, str):
            raise RefusalError(400, "`q` must be a text or a list of texts.")
        if not _is_whole(text):
            raise RefusalError(400, "`q` has half of a surrogate pair, which is no character.")
    characters = sum(map(len, texts))
    if characters > settings.characters:
        raise RefusalError(
            413, f"`q` has {characters} characters; at most {settings.characters} are taken."
        )
    return texts, isinstance(given, list)


def _languages(fields: Mapping[str, Any]) -> tuple[str, str]:
    source, target = _word(fields, "source"), _word(fields, "target")
    if not source or not target:
        missing = "target" if source else "source"
        raise RefusalError(400, f"`{missing}` is missing: the code of a language, see /languages.")
    return source, target


def _word(fields: Mapping[str, Any], name: str, default: str = "") -> str:
    value = fields.get(name, default)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > _LONGEST_WORD:
        raise RefusalError(400, f"`{name}` must be a word.")
    return value


def _choice(fields: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    word = _word(fields, name, choices[0])
    if word not in choices:
        expected = ", ".join(filter(None, choices))
        raise RefusalError(400, f"`{name}` must be one of {expected}; it is {shown(word)}.")
    return word


def _alternatives(fields: Mapping[str, Any], most: int) -> int:
    value = fields.get("alternatives", 0)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if type(value) is not int or not 0 <= value <= most:
        raise RefusalError(400, f"`alternatives` must be a whole number from 0 to {most}.")
    return value


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
