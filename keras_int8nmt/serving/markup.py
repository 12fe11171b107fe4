"""HTML: the text between its tags is translated, the tags stay."""

from __future__ import annotations

import re
import secrets
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.passages import Passage

# What is between their tags is no text of a language.
_CODE = frozenset(
    ("script", "style", "code", "pre", "kbd", "samp", "var", "svg", "math", "template", "textarea")
)
_DOCUMENT = re.compile(r"<(!doctype|html)\b", re.IGNORECASE)
_OPENS, _CLOSES = re.compile("<[A-Za-z]"), re.compile("</[A-Za-z]")
# A parser looks through all open elements at each tag. 100,000 characters that open 20,000 took
# 5 seconds; those of a page are some dozens, and some hundreds where tags may be left open.
_MOST_OPEN = 3000


def html_passage(text: str, language: str) -> Passage:
    """The sentences between the tags of an HTML text, a document or a piece of one.

    What is no HTML is read as browsers read it, and written as HTML. An element with
    `translate="no"` or the class `notranslate` stays as it is, and so do scripts, styles and code.
    Attributes are not translated.

    Args:
        text: Any.
        language: See `plain_passage`.

    Raises:
        RefusalError: for tags that are nested without end.
    """
    still_open = len(_OPENS.findall(text)) - len(_CLOSES.findall(text))
    if still_open > _MOST_OPEN:
        raise RefusalError(
            400, f"The HTML opens {still_open} more tags than it closes; at most {_MOST_OPEN} may."
        )
    parser = LexborHTMLParser(text, is_fragment=_DOCUMENT.search(text) is None)
    # Each text stands for itself by a word that nobody else can have written.
    mark = secrets.token_hex(16)
    texts: list[str] = []
    for node in _text_nodes(parser):
        node.replace_with(f"{mark}{len(texts)};")
        texts.append(str(node.text_content))
    passage = Passage(escaped=True)
    for i, piece in enumerate(re.split(rf"{mark}(\d+);", parser.html or "")):
        if i % 2:
            passage.add_text(texts[int(piece)], language)
        else:
            passage.keep(piece)
    return passage


def _text_nodes(parser: Any) -> list[Any]:
    """The texts to translate, in their order."""
    found: list[Any] = []
    if parser.root is None:
        return found
    # Elements that stay as they are, and all in them.
    kept: set[int] = set()
    for node in parser.root.traverse(include_text=True):
        parent = node.parent
        if parent is not None and parent.mem_id in kept:
            kept.add(node.mem_id)
        elif node.is_text_node:
            if (node.text_content or "").strip():
                found.append(node)
        elif node.is_element_node and _stays(node):
            kept.add(node.mem_id)
    return found


def _stays(element: Any) -> bool:
    attributes = element.attributes
    classes = (attributes.get("class") or "").split()
    no = (attributes.get("translate") or "").lower() == "no"
    return element.tag in _CODE or no or "notranslate" in classes
