"""Language codes such as `>>deu<<`: the first word of a text tells what to translate it into."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from keras_int8nmt._text import visible

_LANGUAGE_CODE = re.compile(r">>[^<>\s]+<<")
_NAMED = 10


class LanguageCodes:
    """The language codes of a vocabulary.

    Args:
        pieces: The vocabulary's; those that look like a code are one.

    Attributes:
        codes: In alphabetic order.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self.codes = sorted(filter(_LANGUAGE_CODE.fullmatch, pieces))

    def split(self, text: str) -> tuple[str, str]:
        """The code at the start of a text, "" without one, and what follows."""
        # Where the vocabulary has none it is text like any other.
        if not self.codes or ">>" not in text:
            return "", text
        code = _LANGUAGE_CODE.match(text, len(text) - len(text.lstrip()))
        if code is None:
            return "", text
        return code.group(), text[code.end() :]

    def has_text(self, text: str) -> bool:
        """Whether there is anything to translate; codes are nothing, known or not."""
        code, rest = self.split(text)
        while code:
            code, rest = self.split(rest)
        return visible(rest)

    def remark(self, text: str, known: Container[str]) -> str | None:
        """That a text begins with a code that there is not.

        Args:
            text: The text.
            known: What pieces there are, added ones too.
        """
        code, _ = self.split(text)
        if not code or code in known:
            return None
        some = ", ".join(self.codes[:_NAMED])
        more = ", ..." if len(self.codes) > _NAMED else ""
        return f"begins with {code}, which the model does not have; it has {some}{more}"
