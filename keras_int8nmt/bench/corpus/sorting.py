"""The three orders of sentences: padded tokens and time side by side, encoder and whole search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from keras_int8nmt.bench.paper.sorting import make_orders, padding_share
from keras_int8nmt.bench.timing import interleaved, row
from keras_int8nmt.runtime.batching import make_batches, pad_batch
from keras_int8nmt.translation.translator import Translator

# Token-count sorting against sorting by words, whole translation (section 5.4 of the paper).
PAPER = 1.28
_BATCH, _BEAM = 32, 4
# The small model rambles on long sentences, and padding is what is measured.
_LONGEST = 64


def order_rows(
    model: Any,
    texts: Sequence[str],
    ids: Sequence[Sequence[int]],
    path: str,
    case: str,
    turns: int,
) -> list[dict[str, Any]]:
    """Seconds by token count against the other orders, one stream.

    Args:
        model: The INT8 model.
        texts: Sentences.
        ids: Their tokens.
        path: "layers", where batches are padded, or "fast", where a sentence takes the seat of one
            that has ended and nothing is.
        case: Of the rows.
        turns: Repetitions.

    Returns:
        Rows with `padded`, the ratio of computed source positions, and `paper`.
    """
    keys = {name: _keys(order) for name, order in make_orders(texts, ids).items()}
    lengths = [len(sentence) for sentence in ids]
    batches = {name: make_batches(lengths, _BATCH, keys=of) for name, of in keys.items()}
    shares = {name: padding_share(made, lengths) for name, made in batches.items()}
    parts = {
        "whole translation": _searches(model, ids, keys, path, _LONGEST),
        "encoder": _encoders(model, ids, batches)
        if path == "layers"
        # The search can't be left out there: one step of it is in.
        else _searches(model, ids, keys, path, 1),
    }
    rows = []
    for part, calls in parts.items():
        times = interleaved(calls, turns)
        for peer in ("words", "none"):
            made = row(
                f"tokens vs {peer}, {part}",
                f"{case}, {path} path",
                times["tokens"].median,
                times[peer].median,
                "s",
                spread=max(times["tokens"].spread, times[peer].spread),
            )
            padded = (1 - shares["tokens"]) / (1 - shares[peer]) if path == "layers" else 1.0
            paper = PAPER if peer == "words" else None
            made |= {"padded": padded, "paper": paper, "sentences": len(ids)}
            made["padding_share"] = shares if path == "layers" else None
            made["note"] = f"padded tokens {padded:.2f}x"
            if paper is not None:
                made["note"] += f", the paper's time {paper:.2f}x"
            rows.append(made)
    return rows


def _keys(order: Sequence[int]) -> list[int]:
    """What gives `order` when sorted by, the largest first."""
    keys = [0] * len(order)
    for rank, i in enumerate(order):
        keys[i] = -rank
    return keys


def _searches(
    model: Any, ids: Sequence[Sequence[int]], keys: dict[str, list[int]], path: str, longest: int
) -> dict[str, Callable[[], Any]]:
    translator = Translator(
        model,
        None,
        beam_size=_BEAM,
        batch_size=_BATCH,
        max_length=longest,
        streams=1,
        path=path,
    )
    taken = translator.native_engine if path == "fast" else translator.graph_engine

    def search(of: list[int]) -> None:
        taken.begin(ids, of).results()

    return {name: partial(search, of) for name, of in keys.items()}


def _encoders(
    model: Any, ids: Sequence[Sequence[int]], batches: dict[str, list[list[int]]]
) -> dict[str, Callable[[], Any]]:
    encode = tf.function(model.encode, input_signature=[tf.TensorSpec([None, None], tf.int32)])

    def padded(made: list[list[int]]) -> list[tf.Tensor]:
        return [tf.constant(pad_batch([ids[i] for i in batch], model.pad_id)) for batch in made]

    def run(inputs: list[tf.Tensor]) -> None:
        for source in inputs:
            encode(source)

    sources = {name: padded(made) for name, made in batches.items()}
    return {name: partial(run, inputs) for name, inputs in sources.items()}
