"""A text as the sentences to translate and all that stays as it is between them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import sentencex


@dataclass
class Passage:
    """A text, cut.

    Attributes:
        parts: In their order: what stays as it is, or the number of a sentence.
        sentences: Those to translate, without white space around them.
        escaped: Whether sentences stand in HTML: in translations `&`, `<` and `>` are escaped.
    """

    parts: list[str | int] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    escaped: bool = False

    def keep(self, text: str) -> None:
        if text:
            self.parts.append(text)

    def add(self, sentence: str) -> None:
        self.parts.append(len(self.sentences))
        self.sentences.append(sentence)

    def add_text(self, text: str, language: str) -> None:
        """The sentences of a text and the white space between them; a line's end ends one."""
        for line in text.splitlines(keepends=True):
            position = 0
            for sentence in _sentences(line, language):
                start = line.find(sentence, position)
                self.keep(line[position:start])
                self.add(sentence)
                position = start + len(sentence)
            self.keep(line[position:])

    def filled(self, translations: Sequence[str]) -> str:
        """The text with the translation of each sentence in its place."""
        if self.escaped:
            translations = [html.escape(each, quote=False) for each in translations]
        return "".join(part if isinstance(part, str) else translations[part] for part in self.parts)


def plain_passage(text: str, language: str) -> Passage:
    """A plain text.

    Args:
        text: Any.
        language: Its code, such as "en": says which abbreviations end no sentence.
    """
    passage = Passage()
    passage.add_text(text, language)
    return passage


def _sentences(line: str, language: str) -> Iterator[str]:
    """The sentences of a line, each a part of it, in their order."""
    rest = line.strip()
    if not rest:
        return
    for found in sentencex.segment(language.partition("-")[0], rest):
        sentence = found.strip()
        if not sentence:
            continue
        start = rest.find(sentence)
        # What is passed over is white space, or the library gave something else than it got.
        if start < 0 or rest[:start].strip():
            break
        yield sentence
        rest = rest[start + len(sentence) :]
    if rest.strip():
        yield rest.strip()
