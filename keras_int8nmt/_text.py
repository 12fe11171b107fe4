"""What of a text can be seen: a line without any of it has nothing to translate."""

from __future__ import annotations

import unicodedata

# Controls, formats (zero-width space, byte order mark, soft hyphen, directions, tags), marks that
# need a letter to stand on (variation selectors among them), and spaces.
_UNSEEN = frozenset({"Cc", "Cf", "Mn", "Me", "Mc", "Zs", "Zl", "Zp"})
# Letters and symbols that are blank: Hangul fillers, the Braille blank, the place of an embedded
# object, blank hieroglyphs, the null notehead.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\ufffc\U00013441\U00013442\U0001d159")
# Default_Ignorable_Code_Point where Unicode has put nothing yet.
_IGNORABLE = ((0x2065, 0x2065), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF))


def visible(text: str) -> bool:
    """Whether anything of `text` can be seen.

    White space, control and format characters, and combining marks without a letter can't.
    """
    return any(map(_is_seen, text))


def _is_seen(char: str) -> bool:
    kind = unicodedata.category(char)
    if kind in _UNSEEN or char in _BLANK:
        return False
    return kind != "Cn" or not _is_no_character(ord(char))


def _is_no_character(code: int) -> bool:
    """Of an unassigned code point: whether it never stands for a character that is seen."""
    is_noncharacter = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return is_noncharacter or any(first <= code <= last for first, last in _IGNORABLE)
