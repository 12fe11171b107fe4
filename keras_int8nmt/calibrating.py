"""`calibrate`: sentences in, a calibrated translation model out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.balancing import DEFAULT_ALPHA, balance
from keras_int8nmt.calibration import reset, set_state, settle
from keras_int8nmt.plain_model import plain_model
from keras_int8nmt.progress import progress_bar
from keras_int8nmt.transformer import Transformer
from keras_int8nmt.translator import Translator

# What the measurements on held-out sentences recommend.
DEFAULT_MODE = "symmetric"

IdPair = tuple[list[int], list[int]]


def calibrate(
    model: Any,
    tokenizer: Any,
    sources: Sequence[str],
    targets: Sequence[str] | None = None,
    *,
    mode: str = DEFAULT_MODE,
    batch_size: int = 32,
    progress: bool = False,
) -> dict[str, tuple[float, float]]:
    """Calibrates a `Transformer` on sentences; a few hundred are enough.

    Args:
        model: A `Transformer` with `quant=True`. It gets thresholds and stays a float model.
        tokenizer: Its tokenizer.
        sources: Sentences; empty ones are left out.
        targets: Their translations. Without them the decoder is fed the float model's own greedy
            translations.
        mode: How thresholds are chosen, see `CalibrationCallback`.
        batch_size: Sentences a batch.
        progress: Show progress bars on stderr if that is a terminal.

    Returns:
        The thresholds by path.

    Raises:
        ValueError: when there is no sentence, or not one target for each source.
        CalibrationError: naming every layer that saw no data, or NaN or infinite values.
    """
    pairs = _pairs(model, tokenizer, sources, targets, batch_size, progress)
    _observe(model, pairs, batch_size, progress)
    return settle(model, mode)


def calibrate_balanced(
    model: Any,
    tokenizer: Any,
    sources: Sequence[str],
    targets: Sequence[str] | None = None,
    *,
    alpha: float = DEFAULT_ALPHA,
    mode: str = DEFAULT_MODE,
    batch_size: int = 32,
    progress: bool = False,
) -> tuple[Transformer, dict[str, tuple[float, float]]]:
    """Watches a `Transformer`, balances it and calibrates the result, on the same sentences.

    Args:
        model: A `Transformer` with `quant=True`. Its weights and thresholds are not changed.
        alpha: As in `balance`.
        tokenizer, sources, targets, mode, batch_size, progress: As in `calibrate`.

    Returns:
        The balanced and calibrated model, and its thresholds by path.

    Raises:
        ValueError, CalibrationError: See `calibrate` and `balance`.
    """
    pairs = _pairs(model, tokenizer, sources, targets, batch_size, progress)
    _observe(model, pairs, batch_size, progress)
    balanced = balance(model, alpha)
    # The float function is the same, and so are greedy translations.
    _observe(balanced, pairs, batch_size, progress)
    return balanced, settle(balanced, mode)


def _pairs(
    model: Any,
    tokenizer: Any,
    sources: Sequence[str],
    targets: Sequence[str] | None,
    batch_size: int,
    progress: bool,
) -> list[IdPair]:
    """Token ids of what `calibrate` was given, shortest first."""
    if targets is not None and len(targets) != len(sources):
        raise ValueError(
            f"There must be one target for each source; received {len(sources)} sources and "
            f"{len(targets)} targets."
        )
    kept = [i for i, text in enumerate(sources) if text.strip()]
    if not kept:
        raise ValueError("There is no sentence to calibrate on.")
    sources = [sources[i] for i in kept]
    source_ids = [_cut(tokenizer.encode(text), model) for text in sources]
    if targets is None:
        target_ids = _greedy(model, tokenizer, source_ids, batch_size, progress)
    else:
        target_ids = [_encode_target(tokenizer, targets[i]) for i in kept]
    target_ids = [_cut(ids, model) for ids in target_ids]
    # By length, so that little is padding.
    return sorted(zip(source_ids, target_ids, strict=True), key=lambda p: (len(p[1]), len(p[0])))


def _cut(ids: list[int], model: Any) -> list[int]:
    """At most as many ids as the model has positions; the last is the end token."""
    return ids if len(ids) <= model.max_length else [*ids[: model.max_length - 1], model.eos_id]


def _encode_target(tokenizer: Any, text: str) -> list[int]:
    # A tokenizer with one vocabulary for both sides need not have the method.
    return getattr(tokenizer, "encode_target", tokenizer.encode)(text)


def _greedy(
    model: Any, tokenizer: Any, source_ids: list[list[int]], batch_size: int, progress: bool
) -> list[list[int]]:
    translator = Translator(
        plain_model(model),
        tokenizer,
        beam_size=1,
        batch_size=batch_size,
        max_length=model.max_length,
    )
    with progress_bar(len(source_ids), "greedy translation", progress) as bar:
        results = translator.translate_ids(source_ids, bar.update)
    return [result.hypotheses[0].tokens for result in results]


def _observe(model: Any, pairs: list[IdPair], batch_size: int, progress: bool) -> None:
    """What `CalibrationCallback` does before it settles, in a function for batches of any shape.

    `predict` would trace the model three times, ten seconds each: for the first shape, for any
    length, and for the number of sentences in the last batch.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)] * 2, autograph=False)
    def step(source: tf.Tensor, target: tf.Tensor) -> None:
        model({"source": source, "target": target}, training=False)

    reset(model)
    set_state(model, "observing")
    try:
        with progress_bar(len(pairs), "calibration", progress) as bar:
            for first in range(0, len(pairs), batch_size):
                batch = pairs[first : first + batch_size]
                fed = [[model.start_id, *target[:-1]] for _, target in batch]
                sources = _padded([source for source, _ in batch], model.pad_id)
                step(tf.constant(sources), tf.constant(_padded(fed, model.pad_id)))
                bar.update(len(batch))
    finally:
        set_state(model, "float")


def _padded(rows: list[list[int]], pad_id: int) -> np.ndarray:
    padded = np.full((len(rows), max(map(len, rows))), pad_id, np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
