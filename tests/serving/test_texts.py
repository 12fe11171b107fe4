"""Texts cut into sentences and put together again: plain ones, HTML, and their languages."""

from __future__ import annotations

import html
import random
import re

import pytest
from helpers.tokenizers import ODD_TEXTS


def plain(text, language="en"):
    from keras_int8nmt.serving.passages import plain_passage

    return plain_passage(text, language)


def markup(text):
    from keras_int8nmt.serving.markup import html_passage

    return html_passage(text, "en")


def test_sentences_end_where_those_of_a_language_do():
    assert plain("Mr. Smith has 3.5 cats. Has he?\r\nYes! ").sentences == [
        "Mr. Smith has 3.5 cats.", "Has he?", "Yes!",
    ]  # fmt: skip
    assert plain("Das ist z. B. gut. Ja.", "de").sentences == ["Das ist z. B. gut.", "Ja."]
    assert plain("これは本です。はい。", "ja").sentences == ["これは本です。", "はい。"]
    assert plain("One. Two.", "zz-Latn").sentences == ["One.", "Two."]


@pytest.mark.parametrize("seed", range(40))
def test_a_text_filled_with_its_own_sentences_is_the_text(seed):
    rng = random.Random(seed)
    pieces = [
        *ODD_TEXTS[:18],
        ". ",
        "! ",
        "?",
        "\r\n",
        "\n\n",
        "\u2028",
        " \t",
        "Mr. ",
        "1. ",
        "。",
    ]
    text = "".join(rng.choices(pieces, k=30))
    text = text.encode("utf-8", "ignore").decode()
    passage = plain(text)
    assert passage.filled(passage.sentences) == text
    assert all(each == each.strip() and each for each in passage.sentences)


def test_texts_of_html_are_escaped_once():
    passage = markup("a &amp; b &lt;c&gt; <i title='a'>d</i>")
    assert passage.sentences == ["a & b <c>", "d"]
    assert passage.filled(["<&>", "x"]) == '&lt;&amp;&gt; <i title="a">x</i>'


def test_what_is_not_to_be_translated_stays():
    kept = (
        '<p translate="no">a <b>b</b></p><span class="x notranslate">c</span>'
        "<script>d</script><style>e</style><pre>f</pre><!-- g -->"
    )
    passage = markup(f"{kept}<p>h</p>")
    assert passage.sentences == ["h"]
    assert passage.filled(["x"]) == f"{kept}<p>x</p>"


def test_a_document_stays_one():
    page = "<!DOCTYPE html><html><head><title>a</title></head><body><p>b</p></body></html>"
    passage = markup(page)
    assert passage.sentences == ["a", "b"]
    assert passage.filled(passage.sentences) == page


@pytest.mark.parametrize(
    "piece",
    ["<!", "<", "<a ", "&", "</", "<![CDATA[", "<!--", "<a href='", "<script>", "<?", "<p>"],
)
def test_hostile_html_is_read_to_its_end(piece):
    # Of some, parsers that look back take minutes.
    count = 2900 if piece[1:2].isalpha() else 100_000 // len(piece)
    passage = markup(piece * count)
    assert passage.filled(passage.sentences) is not None


def test_html_that_opens_tags_without_end_is_refused():
    from keras_int8nmt.serving.errors import RefusalError

    with pytest.raises(RefusalError, match="3001 more tags than it closes"):
        markup("<div>" * 3001)


@pytest.mark.parametrize("seed", range(20))
def test_translations_change_no_tag(seed):
    rng = random.Random(seed)
    pieces = ["<b>", "</b>", "<p class='x'>", "</p>", "<br>", "a. ", "b &amp; c", "&lt;i&gt;", "\n"]
    text = markup("".join(rng.choices(pieces, k=40)))
    same = text.filled(text.sentences)
    other = text.filled(["<x>"] * len(text.sentences))
    tags = re.compile(r"<[^>]*>")
    assert tags.findall(other) == tags.findall(same)
    assert markup(same).filled(markup(same).sentences) == same
    assert html.unescape(tags.sub("", other)).count("<x>") == len(text.sentences)


def test_languages_are_told_by_name_and_found():
    from keras_int8nmt.serving.languages import Detector, language_name

    assert language_name("de") == "German"
    assert language_name("zh-Hans") == "Chinese (Hans)"
    assert language_name("tlh") == "tlh"
    detector = Detector()
    assert detector.rank("Where is the station?")[0].language == "en"
    ranked = detector.rank("Dies ist ein Satz.", ["en", "de-AT"])
    assert [each.language for each in ranked] == ["de-AT", "en"]
    assert sum(each.confidence for each in ranked) == pytest.approx(100, abs=0.2)
    assert detector.rank("12 !?") == detector.rank("a", []) == []
