"""Batches by token count, by word count, and in the order of the input (section 5.4 there)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_int8nmt.bench.timing import interleaved, row
from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines.ours import make_translator

_BATCH, _BEAM = 32, 4
# The small model rambles on long sentences, and padding is what is measured.
_LONGEST = 64
_TURNS = 5


def make_orders(texts: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """Sentence numbers in the three orders; sorted ones begin with the longest."""
    numbers = range(len(texts))
    return {
        "tokens": sorted(numbers, key=lambda i: -len(ids[i])),
        "words": sorted(numbers, key=lambda i: -len(texts[i].split())),
        "none": list(numbers),
    }


def in_batches(order: Sequence[int], size: int = _BATCH) -> list[list[int]]:
    """`order` cut into batches."""
    return [list(order[first : first + size]) for first in range(0, len(order), size)]


def padding_share(batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> float:
    """Share of source positions that is padding."""
    cells = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1.0 - sum(lengths) / cells


def sorting_rows(
    model: Any, texts: Sequence[str], ids: Sequence[Sequence[int]], path: str, corpus: str
) -> list[dict[str, Any]]:
    """Seconds by token count against the two other orders, one stream, batch after batch.

    Args:
        model: The INT8 model.
        texts: Sentences.
        ids: Their tokens.
        path: "fast" or "layers".
        corpus: What the sentences are, for the case.
    """
    orders = {name: in_batches(order) for name, order in make_orders(texts, ids).items()}
    translator = make_translator(model, Job(_BEAM, _BATCH, 1, 0, _LONGEST, ()), path)

    def translate(batches: list[list[int]]) -> None:
        for batch in batches:
            translator.translate_ids([ids[i] for i in batch])

    calls = {n: lambda batches=batches: translate(batches) for n, batches in orders.items()}
    times = interleaved(calls, repeat=_TURNS)
    lengths = [len(sentence) for sentence in ids]
    shares = {name: padding_share(batches, lengths) for name, batches in orders.items()}
    rows = []
    for peer in ("words", "none"):
        made = row(
            f"sorting by tokens vs {peer}",
            f"tiny beam{_BEAM} b{_BATCH} s1 {corpus}, {path} path",
            times["tokens"].median,
            times[peer].median,
            "s",
            spread=max(times["tokens"].spread, times[peer].spread),
        )
        padding = {"ours": shares["tokens"], "peer": shares[peer]}
        rows.append({**made, "padding_share": padding, "sentences": len(ids)})
    return rows
