"""`vocab.yml` of Marian: every piece is kept, and what is no vocabulary is told by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.vocab_yml import parse_vocab_yml, yaml_text

PATH = Path("en.vocab.yml")


def parse(text):
    return parse_vocab_yml(PATH, text.encode())


# What a library for YAML 1.1 takes for something else than text.
@pytest.mark.parametrize(
    "piece",
    [
        *("y", "n", "yes", "No", "on", "OFF", "true", "null", "Null", "~"),
        *("1e3", "0x1F", "012", "1_000", "1:30", ".inf", ".nan", "<<"),
    ],
)
def test_pieces_that_yaml_takes_for_something_else_are_kept(piece):
    for line in (f"{piece}: 7", f'"{piece}": 7', f"'{piece}': 7"):
        assert parse(f"a: 0\n{line}\n") == {"a": 0, piece: 7}


@pytest.mark.parametrize(
    ("line", "piece"),
    [
        (r'"\"": 5', '"'),
        (r'"\\": 5', "\\"),
        (r'"a\tb": 5', "a\tb"),
        (r'"\x85": 5', "\x85"),
        (r'"\u2028x": 5', "\u2028x"),
        (r'"\U0001F600": 5', "\U0001f600"),
        (r'"\xa0\N\_": 5', "\xa0\x85\xa0"),
        ('"#": 5', "#"),
        ('": ": 5', ": "),
        ('"": 5', ""),
        ("'it''s': 5", "it's"),
        ("'\"': 5", '"'),
        ("a:b: 5", "a:b"),
        ("::: 5", "::"),
        ("▁the : 5", "▁the"),
        (">>deu<<: 5", ">>deu<<"),
        ("a\u2028b\x85c: 5", "a\u2028b\x85c"),
        ("\u00a0: 5", "\u00a0"),
        ("x:\t5 \r", "x"),
        ('? "long"\n: 5', "long"),
        ("? long\r\n: 5\r", "long"),
    ],
)
def test_what_lines_stand_for(line, piece):
    assert parse(f"# a comment\n---\n\n{line}\n<unk>: 1") == {piece: 5, "<unk>": 1}


def test_a_byte_order_mark_is_none_of_a_piece():
    assert parse("\ufeffa: 0") == {"a": 0}


def test_one_object_of_json_is_a_vocabulary():
    assert parse('{"eos": 0, "UNK": 1, "a b": 2}') == {"eos": 0, "UNK": 1, "a b": 2}


def test_of_a_piece_that_is_there_twice_the_first_counts():
    assert parse("</s>: 0\n<unk>: 1\n</s>: 2") == {"</s>": 0, "<unk>": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 0\nb", "line 2: 'b' is no entry"),
        ("a: x", "line 1"),
        ("a: -1", "line 1"),
        ("a: 1.0", "line 1"),
        ("a: 99999999999", "line 1"),
        ("a: 4000000000", "an id that no vocabulary has"),
        ("a:", "line 1"),
        ("- a: 1x", "line 1"),
        ('"a: 1', "line 1"),
        ('"a"b": 1', "line 1"),
        ('"a\\": 1', "line 1"),
        ("'a'b': 1", "line 1"),
        (r'"\q": 1', "line 1"),
        (r'"\ud800": 1', "line 1"),
        (r'"\U00110000": 1', "line 1"),
        ("a: 1\nb: 1", "line 2: 'b: 1' has an id that 'a' has, too"),
        ("? a", "line 1"),
        ("", "no pieces"),
        ("# a: 1", "no pieces"),
        ("{", "not JSON"),
        ('{"a": 1, "b": 1}', "one id to several"),
    ],
)
def test_what_is_no_vocabulary_is_told(text, message):
    with pytest.raises(TokenizerError, match=message) as caught:
        parse(text)
    assert "en.vocab.yml" in str(caught.value)


def test_what_is_no_text_is_told():
    with pytest.raises(TokenizerError, match=r"en\.vocab\.yml.*no UTF-8"):
        parse_vocab_yml(PATH, b"a\xff: 1")


def test_a_quote_by_itself_is_text():
    assert yaml_text('"') == '"'
    assert yaml_text(" a ") == "a"
