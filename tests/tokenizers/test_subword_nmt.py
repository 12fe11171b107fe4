"""`BytePairEncoding` against `subword-nmt`'s own output, and against the rule in plain loops."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.subword_nmt import BytePairEncoding, frequent_pieces

DATA = Path(__file__).parents[1] / "data" / "subword_nmt"
LOW = b"#version: 0.2\nl o\nlo w\nlow e\nlowe r</w>\nw e\n"


def lines(name):
    return (DATA / name).read_text(encoding="utf-8").split("\n")[:-1]


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_pieces_are_those_of_subword_nmt(version):
    bpe = BytePairEncoding((DATA / f"codes_{version}").read_bytes())
    # It keeps the spaces at both ends of a line, and one of several between.
    expected = [line.split() for line in lines(f"pieces_{version}")]
    assert [bpe.encode(text) for text in lines("text")] == expected


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_rare_pieces_are_taken_apart_as_by_subword_nmt(version):
    counts = DATA / f"vocabulary_{version}"
    known = frequent_pieces(counts.read_bytes(), counts, 4)
    bpe = BytePairEncoding((DATA / f"codes_{version}").read_bytes(), pieces=known)
    expected = [line.split() for line in lines(f"known_pieces_{version}")]
    assert [bpe.encode(text) for text in lines("text")] == expected
    assert expected != [line.split() for line in lines(f"pieces_{version}")]
    assert [bpe.encode(text) for text in lines("text")] == expected  # of what was kept


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("lower", ["lower"]),
        # "lower" at an end is another symbol than in the middle of a word.
        ("lowers", ["lowe@@", "r@@", "s"]),
        ("low", ["lo@@", "w"]),
        ("lowe", ["low@@", "e"]),
        ("  low\r\nlow ", ["lo@@", "w", "lo@@", "w"]),
        ("l", ["l"]),
        ("", []),
        (" ", []),
    ],
)
def test_examples_worked_by_hand(text, pieces):
    assert BytePairEncoding(LOW).encode(text) == pieces


def test_version_1_keeps_the_end_of_a_word_apart():
    bpe = BytePairEncoding(b"l o\nlo w\nw </w>\nlow </w>\n")
    assert bpe.encode("low lowl ow") == ["low", "low@@", "l", "o@@", "w"]
    assert BytePairEncoding(b"#version: 0.1\nl o\n").encode("lol") == ["lo@@", "l"]


def test_of_a_merge_that_is_there_twice_the_first_counts():
    assert BytePairEncoding(b"#version: 0.2\na b\nb c\na b\n").encode("abcd") == [
        "ab@@",
        "c@@",
        "d",
    ]


def by_the_rule(word, ranks):
    """One merge after another, each wherever it stands, from the left."""
    symbols = [*word[:-1], word[-1] + "</w>"]
    while len(symbols) > 1:
        pairs = [pair for pair in itertools.pairwise(symbols) if pair in ranks]
        if not pairs:
            break
        best, merged = min(pairs, key=ranks.__getitem__), []
        while symbols:
            if tuple(symbols[:2]) == best:
                merged.append("".join(best))
                symbols = symbols[2:]
            else:
                merged.append(symbols.pop(0))
        symbols = merged
    return [*symbols[:-1], symbols[-1].removesuffix("</w>")]


def test_any_merges_in_any_order_follow_the_rule():
    """Those that nobody would learn, too, where a later merge gives rise to an earlier one."""
    rng = random.Random(5)
    merged = 0
    for _ in range(150):
        symbols = ["a", "b", "a</w>", "b</w>"]
        pairs = []
        for _ in range(12):
            left = rng.choice([s for s in symbols if not s.endswith("</w>")])
            pairs.append((left, rng.choice(symbols)))
            symbols.append("".join(pairs[-1]))
        rng.shuffle(pairs)
        bpe = BytePairEncoding("\n".join(["#version: 0.2", *map(" ".join, pairs)]).encode())
        ranks = {pair: pairs.index(pair) for pair in pairs}
        for _ in range(20):
            word = "".join(rng.choices("ab", k=rng.randrange(2, 30)))
            expected = by_the_rule(word, ranks)
            merged += len(word) - len(expected)
            *before, last = expected
            assert bpe.encode(word) == [*(s + "@@" for s in before), last], (pairs, word)
    assert merged > 10_000


def test_decoding_joins_what_goes_on():
    bpe = BytePairEncoding(LOW)
    assert bpe.decode(["low@@", "e", "a", "b@@"]) == "lowe a b"
    assert bpe.decode([]) == ""
    for text in lines("text")[:7]:
        assert bpe.decode(bpe.encode(text)) == " ".join(text.split())


def test_what_is_kept_of_words_is_bounded(monkeypatch):
    monkeypatch.setattr("keras_int8nmt.tokenizers.subword_nmt._KEPT_WORDS", 10)
    bpe = BytePairEncoding(LOW)
    words = [f"low{i}" for i in range(100)]
    assert bpe.encode(" ".join(words)) == [piece for word in words for piece in bpe.encode(word)]
    bpe.encode("low" * 100)
    assert 0 < len(bpe._kept) <= 10
    assert max(map(len, bpe._kept)) < 100


def test_a_very_long_word_is_one_word():
    pieces = BytePairEncoding(LOW).encode("low" * 20_000 + "er")
    assert pieces == ["low@@"] * 19_999 + ["lower"]


def test_taking_apart_is_as_deep_as_there_are_merges():
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 2500)))
    merges = "".join(f"{letters[:i]} {letters[i]}\n" for i in range(1, len(letters)))
    codes = f"#version: 0.2\n{merges}".encode()
    assert BytePairEncoding(codes).encode(letters + "a") == [f"{letters}@@", "a"]
    apart = BytePairEncoding(codes, pieces=frozenset({"a"})).encode(letters + "a")
    assert apart == [*(f"{letter}@@" for letter in letters), "a"]


def test_half_a_surrogate_pair_is_replaced():
    assert BytePairEncoding(LOW).encode("low \ud83d") == ["lo@@", "w", "?"]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (b"", "line 1"),
        (b"#version: 0.2\n", "no merges"),
        (b"#version: 0.3\na b\n", "version '0.3'"),
        (b"#version:\na b\n", "version ''"),
        (b"#version: 0.2\na b\n\nb c\n", "line 3"),
        (b"#version: 0.2\na b 12\n", "line 2: 'a b 12'"),
        (b"a  b\n", "line 1"),
        (b"a\tb\n", "line 1"),
        (b"\xff\xfea b\n", "UTF-8"),
        (b"a " + b"b" * 10_000 + b" c", "no merge"),
    ],
)
def test_what_is_no_codes_file_is_named(codes, message):
    with pytest.raises(TokenizerError, match=message) as caught:
        BytePairEncoding(codes, "some/source.bpe")
    assert "some/source.bpe" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_byte_order_mark_and_ends_of_lines_of_windows_are_no_part_of_it():
    codes = b"\xef\xbb\xbf" + LOW.replace(b"\n", b"\r\n")
    assert BytePairEncoding(codes).encode("lower lowe") == ["lower", "low@@", "e"]


def test_too_many_merges_are_refused(monkeypatch):
    monkeypatch.setattr("keras_int8nmt.tokenizers.subword_nmt._MOST_MERGES", 4)
    with pytest.raises(TokenizerError, match="5 merges; at most 4"):
        BytePairEncoding(LOW)


@pytest.mark.parametrize(
    "content", [b"", b"the\n", b"the x\n", b"the -1\n", b"a 1\n\nb 1\n", b"\xff"]
)
def test_what_is_no_vocabulary_is_named(content):
    with pytest.raises(TokenizerError, match=r"some\.vocab"):
        frequent_pieces(content, "some.vocab")
