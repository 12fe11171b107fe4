"""Which encoding of two or four bytes a character a file is in, told by its first bytes."""

from __future__ import annotations

import codecs
import unicodedata

# Bytes that are looked at, at most.
HEAD = 4096
# The longer ones first: the mark of UTF-32 begins like that of UTF-16.
_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_WIDE = (("UTF-32LE", 4), ("UTF-32BE", 4), ("UTF-16LE", 2), ("UTF-16BE", 2))
_LAYOUT = frozenset("\t\n\v\f\r")
# More control characters than this share are no text.
_FEW_CONTROLS = 0.25


def wide_encoding(head: bytes) -> str | None:
    """The name of UTF-16 or UTF-32 where a file that begins so is in it; else None.

    It is told by the mark at the start, or without one by zeros, where as UTF-8 the bytes are no
    text, or poorer text than as the other.
    """
    head = head[:HEAD]
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if b"\0" not in head:
        return None
    likely = {name: _likelihood(head, name, width) for name, width in _WIDE}
    best = max(likely, key=lambda name: likely[name])
    if likely[best] <= 0 or (_is_utf8(head) and not _is_one_script(head, best)):
        return None
    return best


def _is_utf8(head: bytes) -> bool:
    try:
        # The last character may be cut off.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return sum(map(_is_control, text)) <= _FEW_CONTROLS * len(text)


def _is_one_script(head: bytes, encoding: str) -> bool:
    """Whether characters lie close together, as those of Devanagari; pairs of ASCII bytes don't."""
    places = [ord(c) >> 8 for c in head.decode(encoding, "replace") if ord(c) >= 0x100]
    return bool(places) and 4 * len(set(places)) <= len(places)


def _likelihood(head: bytes, encoding: str, width: int) -> int:
    """How many more characters have zeros where this encoding puts them than elsewhere.

    Of text in any script some are ASCII: spaces, digits, ends of lines. 0 for what is no text.
    """
    # A line that ends at the byte of its line feed may lack zeros after it.
    text = head[: len(head) - len(head) % width].decode(encoding, "replace")
    if any(_is_control(c) or unicodedata.category(c) == "Cn" or c == "\ufffd" for c in text[:-1]):
        return 0
    return sum(ord(c) < 0x100 for c in text) - sum(ord(c) & 0xFF == 0 for c in text)


def _is_control(char: str) -> bool:
    return char not in _LAYOUT and unicodedata.category(char) == "Cc"
