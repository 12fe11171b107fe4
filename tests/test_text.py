"""What of a text can be seen: by Unicode, character by character."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from keras_int8nmt._text import visible

UNSEEN = {
    "white space": " \t\r\n\v\f\u00a0\u2003\u3000\u1680\u2028\u2029\u0085",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e",
    "directions": "\u200e\u200f\u061c\u202a\u202e\u2066\u2069",
    "controls": "\0\x01\x1b\x7f\x9f",
    "marks alone": "\u0301\u0308\u20dd\u0903\u3099\u0e31",
    "variation selectors": "\ufe0f\ufe0e\u180b\U000e0100",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "fillers": "\U00013441\u115f\u1160\u3164\uffa0\u2800\U00016fe4",
    "annotation and objects": "\ufff9\ufffa\ufffb\ufffc",
    "invisible operators": "\u2061\u2062\u2063\u2064",
    "noncharacters": "\ufffe\uffff\ufdd0\U0010ffff",
    "ignorable and unassigned": "\u2065\ufff0\U000e0fff",
}
SEEN = ["a", ".", "\u4f60", "\U0001f600", "-", "e\u0301", "\u200bx", "\ufffd", "\u0f0b", "\ud800"]


@pytest.mark.parametrize("kind", UNSEEN)
def test_what_can_not_be_seen_is_no_text(kind):
    characters = UNSEEN[kind]
    assert [c for c in characters if visible(c)] == []
    assert not visible(characters)
    assert visible(characters + "x")


def test_what_can_be_seen_is_text():
    assert [text for text in SEEN if not visible(text)] == []
    assert not visible("")


def test_every_character_of_the_unseen_categories_is_unseen():
    """And of the categories of letters, digits, signs and symbols few are."""
    unseen = {"Cc", "Cf", "Mn", "Me", "Mc", "Zs", "Zl", "Zp"}
    found = [chr(code) for code in range(sys.maxunicode + 1)]
    assert not any(visible(c) for c in found if unicodedata.category(c) in unseen)
    letters = [c for c in found if unicodedata.category(c)[0] in "LNPS"]
    # Of older tables of Unicode two are not assigned.
    assert sum(not visible(c) for c in letters) in (7, 9)
