"""Byte pair encoding as `subword-nmt` does it: the text's words in pieces, and back.

Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016:
a word begins as its characters; the pair of neighbours that was learned first becomes one symbol,
wherever it stands, until there is none that was learned.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Container, Iterable

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.vocabulary import as_text

SEPARATOR = "@@"
_END = "</w>"
_VERSIONS = ("0.1", "0.2")
# Ten times as many as anybody learns.
_MOST_MERGES = 1_000_000
# Words are kept with their pieces: a language has this many that are common.
_KEPT_WORDS, _LONGEST_KEPT = 1 << 16, 64


class BytePairEncoding:
    """The segmentation of one codes file.

    Args:
        codes: The file's content: the line `#version: 0.2`, or none for version 0.1, and a merge a
            line, two symbols with a space between, the one that was learned first on top.
        place: Its path, for messages.
        pieces: What pieces there are, with `@@` where a word goes on: others are taken apart again,
            by the merges that made them, as `--vocabulary` of `subword-nmt` asks for. None: all.

    Text is split into words at spaces alone and is not normalized: what was done to the text that
    the codes were learned on, such as Moses' tokenization, is for the caller to do. A word's last
    piece is plain, the others end with `@@`.

    Raises:
        TokenizerError: Names the file and the line that is no merge.

    Example:

        >>> bpe = BytePairEncoding(b"#version: 0.2\\nl o\\nlo w</w>\\n")
        >>> bpe.encode("low lower")
        ['low', 'lo@@', 'w@@', 'e@@', 'r']
        >>> bpe.decode(["low", "lo@@", "w@@", "e@@", "r"])
        'low lower'
    """

    def __init__(
        self,
        codes: bytes,
        place: str | os.PathLike[str] = "BPE codes",
        *,
        pieces: Container[str] | None = None,
    ) -> None:
        self._place = str(place)
        self._end_is_a_symbol, merges = self._parse(codes)
        self._ranks: dict[tuple[str, str], int] = {}
        self._parts: dict[str, tuple[str, str]] = {}
        for rank, pair in enumerate(merges):
            # Of a merge that is there twice, and of two that make the same, the first counts.
            self._ranks.setdefault(pair, rank)
            self._parts.setdefault(pair[0] + pair[1], pair)
        self._pieces = pieces
        self._kept: dict[str, tuple[str, ...]] = {}

    def _parse(self, codes: bytes) -> tuple[bool, list[tuple[str, str]]]:
        try:
            lines = codes.decode("utf-8-sig").rstrip("\r\n ").split("\n")
        except UnicodeDecodeError as error:
            raise TokenizerError(f"{self._place!r} is no UTF-8 text: {error}.") from error
        version, first = "0.1", 1
        if lines[0].startswith("#version:"):
            version, first = lines.pop(0).removeprefix("#version:").strip(), 2
            if version not in _VERSIONS:
                raise TokenizerError(
                    f"{self._place!r} has the version {version[:20]!r} of BPE codes; known are "
                    f"{' and '.join(_VERSIONS)}."
                )
        if not lines:
            raise TokenizerError(f"{self._place!r} holds no merges.")
        if len(lines) > _MOST_MERGES:
            raise TokenizerError(
                f"{self._place!r} has {len(lines)} merges; at most {_MOST_MERGES} are read."
            )
        merges = []
        for number, line in enumerate(lines, first):
            symbols = line.strip("\r ").split(" ")
            if len(symbols) != 2 or not all(symbols):
                raise TokenizerError(
                    f"{self._place!r}, line {number}: {line[:40]!r} is no merge of subword-nmt, "
                    "which is two symbols with a space between."
                )
            merges.append((symbols[0], symbols[1]))
        return version == "0.1", merges

    def encode(self, text: str) -> list[str]:
        """The pieces of a text, `@@` at the end of each that does not end its word."""
        found: list[str] = []
        for word in as_text(text).replace("\r", " ").replace("\n", " ").split(" "):
            if word:
                found += self._kept.get(word) or self._segmented(word)
        return found

    def decode(self, pieces: Iterable[str]) -> str:
        """The text of pieces; the words are joined by single spaces."""
        text = " ".join(pieces).replace(f"{SEPARATOR} ", "")
        return text.removesuffix(SEPARATOR)

    def _segmented(self, word: str) -> tuple[str, ...]:
        symbols = self._merged(word)
        if self._pieces is not None and len(word) > 1:
            symbols = self._known(symbols, self._pieces)
        pieces = (*(symbol + SEPARATOR for symbol in symbols[:-1]), symbols[-1])
        if len(word) <= _LONGEST_KEPT:
            if len(self._kept) >= _KEPT_WORDS:
                self._kept.clear()
            self._kept[word] = pieces
        return pieces

    def _merged(self, word: str) -> list[str]:
        """The symbols that a word's characters become, without the mark of its end."""
        if len(word) == 1:
            return [word]
        symbols: list[str | None] = list(word)
        if self._end_is_a_symbol:
            symbols.append(_END)
        else:
            symbols[-1] = word[-1] + _END
        found = self._after_merges(symbols)
        if found[-1] == _END:
            return found[:-1]
        return [*found[:-1], found[-1].removesuffix(_END)]

    def _after_merges(self, symbols: list[str | None]) -> list[str]:
        # A text without spaces is one long word: places of pairs wait in a heap, and are not
        # looked for again after each merge. A symbol that was merged away is None.
        count = len(symbols)
        before, after = list(range(-1, count - 1)), list(range(1, count + 1))
        heap: list[tuple[int, int, str, str]] = []

        def offer(at: int) -> None:
            if at >= 0 and after[at] < count:
                left, right = symbols[at], symbols[after[at]]
                assert left is not None
                assert right is not None
                rank = self._ranks.get((left, right))
                if rank is not None:
                    heapq.heappush(heap, (rank, at, left, right))

        for at in range(count - 1):
            offer(at)
        while heap:
            rank, made = heap[0][0], []
            # All places of one pair, from the left, before any that its merges give rise to.
            while heap and heap[0][0] == rank:
                _, at, left, right = heapq.heappop(heap)
                other = after[at]
                if symbols[at] != left or other >= count or symbols[other] != right:
                    continue
                symbols[at], symbols[other] = left + right, None
                after[at] = after[other]
                if after[at] < count:
                    before[after[at]] = at
                made.append(at)
            for at in made:
                # Two that were made side by side are one pair.
                offer(before[at])
                offer(at)
        return [symbol for symbol in symbols if symbol is not None]

    def _known(self, symbols: list[str], pieces: Container[str]) -> list[str]:
        """Symbols of which no piece is known are taken apart, as far as there are merges."""
        found: list[str] = []
        # From the right: the next one is on top. A symbol of a thousand merges is no recursion.
        waiting = [(symbols[-1], True), *((symbol, False) for symbol in reversed(symbols[:-1]))]
        while waiting:
            symbol, is_last = waiting.pop()
            parts = self._parts_of(symbol, is_last)
            if (symbol if is_last else symbol + SEPARATOR) in pieces or parts is None:
                found.append(symbol)
                continue
            waiting += [(parts[1], is_last), (parts[0], False)]
        return found

    def _parts_of(self, symbol: str, is_last: bool) -> tuple[str, str] | None:
        if not is_last:
            return self._parts.get(symbol)
        parts = self._parts.get(symbol + _END)
        if parts is None:
            return None
        if parts[1] == _END:
            return self._parts.get(symbol)
        return parts[0], parts[1].removesuffix(_END)


def frequent_pieces(
    content: bytes, place: str | os.PathLike[str], threshold: int = 0
) -> frozenset[str]:
    """The pieces of a vocabulary of `subword-nmt get-vocab`, for `BytePairEncoding`.

    Args:
        content: The file's: a piece and how often it was seen, a line.
        place: Its path, for messages.
        threshold: Pieces that were seen less often are left out.

    Raises:
        TokenizerError: Names the file and the line that is none.
    """
    found = set()
    try:
        lines = content.decode("utf-8-sig").rstrip("\r\n ").split("\n")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{str(place)!r} is no UTF-8 text: {error}.") from error
    for number, line in enumerate(lines, 1):
        piece, _, count = line.strip("\r ").partition(" ")
        if not piece or not count.isdecimal() or len(count) > 18:
            raise TokenizerError(
                f"{str(place)!r}, line {number}: {line[:40]!r} is not a piece, a space and how "
                "often it was seen."
            )
        if int(count) >= threshold:
            found.add(piece)
    return frozenset(found)
