"""`calibrate`: sentences in, a calibrated translation model out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_int8nmt._progress import progress_bar
from keras_int8nmt.calibration.feeds import Progress, feed_beam_search, feed_targets
from keras_int8nmt.calibration.options import DEFAULT_ALPHA, DEFAULT_BEAM, check_feed
from keras_int8nmt.calibration.smooth_quant import balance
from keras_int8nmt.layers.finite import require_finite
from keras_int8nmt.layers.model_state import reset, set_state, settle
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.runtime.batching import cut_ids, pad_batch
from keras_int8nmt.thresholds.modes import DEFAULT_MODE, parse_mode
from keras_int8nmt.tokenizers.adapters import tokenizer_for
from keras_int8nmt.tokenizers.protocol import Tokenizer, source_end, target_ids, text_test
from keras_int8nmt.translation.translator import Translator

# Shows sentences to a model, and tells how many.
Show = Callable[[Any, Progress], None]


def calibrate(
    model: Any,
    tokenizer: Any,
    sources: Sequence[str],
    targets: Sequence[str] | None = None,
    *,
    mode: str = DEFAULT_MODE,
    feed: str | None = None,
    beam_size: int = DEFAULT_BEAM,
    unsigned: bool = True,
    batch_size: int = 32,
    progress: bool = False,
) -> dict[str, tuple[float, float]]:
    """Calibrates a `Transformer` on sentences; a few hundred are enough.

    Args:
        model: A `Transformer` with `quant=True`. It gets thresholds and stays a float model.
        tokenizer: Its tokenizer, as for `Translator`.
        sources: Sentences; empty ones are left out.
        targets: Their translations.
        mode: How thresholds are chosen, see `CalibrationCallback`.
        feed: What the decoder is fed. "targets": `targets`, the default where they are given.
            "greedy": the float model's own greedy translations, the default without them. "beam":
            a beam search of the float model; every live hypothesis of every step is counted, as
            translating with a beam meets them.
        beam_size: Of `feed="beam"` alone: live hypotheses a sentence.
        unsigned: Whether tensors without negative values are uint8, see `CalibrationCallback`.
        batch_size: Sentences a batch.
        progress: Show progress bars on stderr if that is a terminal.

    Returns:
        The thresholds by path.

    Raises:
        ValueError: when there is no sentence, or not one target for each source, when mode or feed
            are unknown, and when targets and feed do not go together.
        CalibrationError: naming every layer that saw no data, or NaN or infinite values.
        NotFiniteError: naming a weight that is NaN or infinite.

    Example:

        >>> calibrate(model, tokenizer, sentences, feed="beam", beam_size=4)
        >>> int8 = convert(model)
    """
    parse_mode(mode)
    count, show = _feed(model, tokenizer, sources, targets, feed, beam_size, batch_size, progress)
    _observe(model, count, show, progress)
    return settle(model, mode, unsigned=unsigned)


def calibrate_balanced(
    model: Any,
    tokenizer: Any,
    sources: Sequence[str],
    targets: Sequence[str] | None = None,
    *,
    alpha: float = DEFAULT_ALPHA,
    mode: str = DEFAULT_MODE,
    feed: str | None = None,
    beam_size: int = DEFAULT_BEAM,
    unsigned: bool = True,
    batch_size: int = 32,
    progress: bool = False,
) -> tuple[Transformer, dict[str, tuple[float, float]]]:
    """Watches a `Transformer`, balances it and calibrates the result, on the same sentences.

    Args:
        model: A `Transformer` with `quant=True`. Its weights and thresholds are not changed; what
            its observers saw is, as by `calibrate`.
        alpha: As in `balance`.
        tokenizer, sources, targets, mode, feed, beam_size, unsigned, batch_size, progress: As in
            `calibrate`.

    Returns:
        The balanced and calibrated model, and its thresholds by path.

    Raises:
        ValueError, CalibrationError: See `calibrate` and `balance`.
    """
    parse_mode(mode)
    count, show = _feed(model, tokenizer, sources, targets, feed, beam_size, batch_size, progress)
    _observe(model, count, show, progress)
    balanced = balance(model, alpha)
    # The float function is the same, and so are greedy translations.
    _observe(balanced, count, show, progress)
    return balanced, settle(balanced, mode, unsigned=unsigned)


def _feed(
    model: Any,
    tokenizer: Any,
    sources: Sequence[str],
    targets: Sequence[str] | None,
    feed: str | None,
    beam_size: int,
    batch_size: int,
    progress: bool,
) -> tuple[int, Show]:
    """How many sentences there are, and what shows them to a model."""
    feed = check_feed(feed, targets is not None, beam_size)
    if targets is not None and len(targets) != len(sources):
        raise ValueError(
            f"There must be one target for each source; received {len(sources)} sources and "
            f"{len(targets)} targets."
        )
    tokenizer = tokenizer_for(model, tokenizer)
    has_text = text_test(tokenizer)
    kept = [i for i, text in enumerate(sources) if has_text(text)]
    encoded = _encode_sources(tokenizer, [sources[i] for i in kept], model)
    # A source without an end token may have none at all.
    kept = [i for i, ids in zip(kept, encoded, strict=True) if ids]
    if not kept:
        raise ValueError("There is no sentence to calibrate on.")
    source_ids = [ids for ids in encoded if ids]
    if feed == "beam":
        return len(kept), lambda shown, told: feed_beam_search(
            shown, source_ids, beam_size, batch_size, told
        )
    if targets is None:
        fed = _greedy(model, tokenizer, source_ids, batch_size, progress)
    else:
        fed = [target_ids(tokenizer, targets[i], model.eos_id) for i in kept]
    pairs = [(s, _cut(t, model)) for s, t in zip(source_ids, fed, strict=True)]
    return len(kept), lambda shown, told: feed_targets(shown, pairs, batch_size, told)


def _observe(model: Any, count: int, show: Show, progress: bool) -> None:
    """What `CalibrationCallback` does before it settles."""
    require_finite(model)
    reset(model)
    set_state(model, "observing")
    try:
        with progress_bar(count, "calibration", progress) as bar:
            show(model, bar.update)
    finally:
        set_state(model, "float")


def sample_batch(
    model: Any, tokenizer: Any, sources: Sequence[str], targets: Sequence[str]
) -> dict[str, np.ndarray]:
    """Sentence pairs as one batch of inputs of a `Transformer`, for `convert(sample=...)`."""
    tokenizer = tokenizer_for(model, tokenizer)
    source_ids = _encode_sources(tokenizer, sources, model)
    ended = [_cut(target_ids(tokenizer, text, model.eos_id), model) for text in targets]
    fed = [[model.start_id, *ids[:-1]] for ids in ended]
    return {"source": pad_batch(source_ids, model.pad_id), "target": pad_batch(fed, model.pad_id)}


def _cut(ids: list[int], model: Any) -> list[int]:
    """At most as many ids as the model has positions."""
    return cut_ids(ids, model.max_length, model.eos_id)


def _encode_sources(tokenizer: Tokenizer, texts: Sequence[str], model: Any) -> list[list[int]]:
    end = source_end(tokenizer, model.eos_id)
    return [cut_ids(tokenizer.encode(text), model.max_length, end) for text in texts]


def _greedy(
    model: Any, tokenizer: Tokenizer, source_ids: list[list[int]], batch_size: int, progress: bool
) -> list[list[int]]:
    translator = Translator(
        plain_model(model),
        tokenizer,
        beam_size=1,
        batch_size=batch_size,
        max_length=model.max_length,
        return_scores=False,
    )
    with progress_bar(len(source_ids), "greedy translation", progress) as bar:
        results = translator.translate_ids(source_ids, bar.update)
    return [result.hypotheses[0].tokens for result in results]
