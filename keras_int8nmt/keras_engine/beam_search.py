"""Beam search over a step function; knows no model.

A hypothesis scores the sum of its log-probabilities divided by `n ** length_penalty`, where `n`
counts its generated tokens, the end token included. Of a sentence's `2 * beam_size` best
candidates, those among the first `beam_size` that are end tokens end a hypothesis, and the best
`beam_size` others live on. Ties go to the lower token id, then to the lower beam. A sentence stops
when `beam_size` hypotheses have ended and the best live one, scored at its present length, does not
beat the best of them. At `max_length` every live hypothesis is given the end token. Padding is
never produced, nor is before `max_length` what a token filter forbids, see `token_filters`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_int8nmt.keras_engine.filtering import Filtering
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.runtime.search_options import SearchOptions

# Positions by which the cache grows. More: attention reads more empty places; fewer: more copies.
CHUNK = 16


class SearchResult(NamedTuple):
    """The hypotheses of a batch, best first.

    Attributes:
        tokens: int32 `[batch, num_hypotheses, longest]`, the end token included, then `pad_id`.
        lengths: int32 `[batch, num_hypotheses]`; 0 where there was no further hypothesis.
        scores: float32 `[batch, num_hypotheses]`; -inf where there was no further hypothesis.
    """

    tokens: Any
    lengths: Any
    scores: Any


class _State(NamedTuple):
    """What the loop carries; a sentence that has stopped is one whose live scores are all -inf.

    `b` is the number of sentences that are still computed, which halves as sentences stop.
    """

    index: Any  # int32 scalar: tokens generated so far
    sentences: Any  # int32 [b]: where in the batch each is
    results: Any  # ended and ends, [batch, beam], of the sentences that are computed no more
    tokens: Any  # int32 [b, beam]: the last token of each live hypothesis
    prefix: Any  # (int32 [b, beam, index],): their tokens so far; () where no filter asks for them
    live: Any  # float32 [b, beam]: sums of log-probabilities, best first; -inf: an empty place
    ended: Any  # float32 [b, beam]: scores of the best ended hypotheses, best first
    ends: Any  # int32 [b, beam]: of each, its length * beam + the live hypothesis it came from
    history: Any  # TensorArray of int32 [batch, beam]: token * beam + parent of the live ones
    capacity: Any  # int32 scalar: positions that the cache has room for
    cache: Any


_PER_SENTENCE = ("sentences", "tokens", "prefix", "live", "ended", "ends")


def search(
    step: Callable[..., tuple[Any, Any]],
    reorder: Callable[[Any, Any], Any],
    grow: Callable[[Any, Any], Any],
    cache: Any,
    *,
    batch: Any,
    options: SearchOptions,
    start_id: int,
    eos_id: int,
    pad_id: int,
    select: Callable[[Any, Any, Any], Any] | None = None,
    tell_live: bool = False,
) -> SearchResult:
    """Finds the best hypotheses of each sentence; to be called inside a `tf.function`.

    Args:
        step: `(tokens [b, beam], index, cache) -> (logits [b * beam, v], cache)`.
        reorder: `(cache, parents [b, beam]) -> cache`: hypothesis i becomes what `parents[i]` was.
        grow: `(cache, capacity) -> cache` with room for `capacity` positions.
        cache: Nest of tensors, the state before the first step, of any capacity up to `CHUNK`;
            it is grown as needed and otherwise never opened.
        batch: Number of sentences.
        options: What to search for.
        start_id: The token that every hypothesis is started with; not part of the result.
        eos_id: The end token.
        pad_id: Never produced; fills the result.
        select: `(cache, sentences [kept], b) -> cache` of those of the b sentences alone. With it,
            the search goes on with half of the sentences when the others have stopped; the first
            dimension of the cache's tensors must not be static then.
        tell_live: Whether `step` is handed a fourth argument, bool `[b, beam]`: which hypotheses
            live. The other places are computed and come to nothing.

    Returns:
        A `SearchResult`.
    """
    beam_size, max_length = options.beam_size, options.max_length
    divisors = tf.constant(np.asarray(options.divisors()))
    filters = options.filters()
    filtering = Filtering(filters, eos_id, pad_id) if filters else None

    def body(*values: Any) -> tuple[_State]:
        state = _State(*values)
        if select is not None:
            state = _without_stopped(state, select)
        capacity, state_cache = _make_room(grow, state.index, state.capacity, state.cache)
        live = (state.live > -np.inf,) if tell_live else ()
        logits, state_cache = step(state.tokens, state.index, state_cache, *live)
        length = state.index + 1
        log_probs, ids = _extensions(logits, length, options, eos_id, pad_id, filtering, state)
        scores, keys = _best_candidates(log_probs, ids, state.live, beam_size)
        is_end = keys // beam_size == eos_id

        divisor = divisors[length]
        ended, ends = _merge_ended(state, scores, keys, is_end, divisor, length, beam_size)
        live, places = tf.math.top_k(tf.where(is_end, -np.inf, scores), beam_size)
        keys = tf.gather(keys, places, batch_dims=1)
        stop = (ended[:, -1:] > -np.inf) & (ended[:, :1] >= live[:, :1] / divisor)
        live = tf.where(stop, -np.inf, live)

        if beam_size > 1:
            state_cache = reorder(state_cache, keys % beam_size)
        after = state._replace(
            index=length,
            prefix=_longer(state.prefix, keys, beam_size),
            tokens=keys // beam_size,
            live=live,
            ended=ended,
            ends=ends,
            history=state.history.write(
                state.index, _put(tf.zeros_like(state.results[1]), state.sentences, keys)
            ),
            capacity=capacity,
            cache=state_cache,
        )
        return (_with_shapes(after, values),)

    def going_on(*values: Any) -> Any:
        state = _State(*values)
        return (state.index < max_length) & tf.reduce_any(state.live[:, 0] > -np.inf)

    state = _first_state(grow, cache, batch, beam_size, start_id, filtering is not None)
    state = tf.while_loop(
        lambda s: going_on(*s), lambda s: body(*s), (state,), parallel_iterations=1
    )[0]
    return _trace_back(
        _put_results(state), state.history, beam_size, options.num_hypotheses, eos_id, pad_id
    )


def _first_state(
    grow: Any, cache: Any, batch: Any, beam: int, start_id: int, filtering: bool
) -> _State:
    # The loop changes both, so shape inference must not take them for constants.
    capacity = tf.compat.v1.placeholder_with_default(tf.constant(CHUNK), [])
    batch = tf.compat.v1.placeholder_with_default(tf.convert_to_tensor(batch, tf.int32), [])
    ended, ends = tf.fill([batch, beam], -np.inf), tf.zeros([batch, beam], tf.int32)
    nothing = tf.zeros([batch, beam, 0], tf.int32)
    prefix = (tf.compat.v1.placeholder_with_default(nothing, [None, beam, None]),)
    first_live = tf.constant([[0.0] + [-np.inf] * (beam - 1)])
    return _State(
        index=tf.constant(0),
        sentences=tf.range(batch),
        results=(ended, ends),
        tokens=tf.fill([batch, beam], start_id),
        prefix=prefix if filtering else (),
        live=tf.tile(first_live, [batch, 1]),
        ended=ended,
        ends=ends,
        history=tf.TensorArray(
            tf.int32, size=0, dynamic_size=True, element_shape=[None, beam], infer_shape=False
        ),
        capacity=capacity,
        cache=grow(cache, capacity),
    )


def _with_shapes(state: _State, before: Any) -> _State:
    """`state` with the static shapes that the loop began with, where operations have lost them."""

    def restore(x: Any, old: Any) -> Any:
        if isinstance(x, tf.Tensor):
            x.set_shape(old.shape)
        return x

    return tf.nest.map_structure(restore, state, _State(*before))


def _without_stopped(state: _State, select: Any) -> _State:
    """Drops half of the sentences once half have stopped.

    Always half, so that few different numbers of rows occur: some operations compile for each.
    """
    going_on = tf.cast(state.live[:, 0] > -np.inf, tf.int32)
    size = tf.size(going_on)
    rows = {name: getattr(state, name) for name in _PER_SENTENCE}

    def dropped() -> Any:
        _, kept = tf.math.top_k(going_on, size // 2)
        some = tf.nest.map_structure(lambda x: tf.gather(x, kept), rows)
        return {**some, "results": _put_results(state), "cache": select(state.cache, kept, size)}

    def all_of_them() -> Any:
        return {**rows, "results": state.results, "cache": state.cache}

    half_have_stopped = 2 * tf.reduce_sum(going_on) <= size
    return state._replace(**tf.cond(half_have_stopped, dropped, all_of_them))


def _put(whole: Any, sentences: Any, rows: Any) -> Any:
    return tf.tensor_scatter_nd_update(whole, sentences[:, None], rows)


def _put_results(state: _State) -> tuple[Any, Any]:
    ended, ends = state.results
    return _put(ended, state.sentences, state.ended), _put(ends, state.sentences, state.ends)


def _make_room(grow: Any, index: Any, capacity: Any, cache: Any) -> tuple[Any, Any]:
    return tf.cond(
        index < capacity,
        lambda: (capacity, cache),
        lambda: (capacity + CHUNK, grow(cache, capacity + CHUNK)),
    )


def _longer(prefix: Any, keys: Any, beam: int) -> Any:
    """The tokens of the hypotheses that live on, the last one included."""
    return tuple(
        tf.concat([tf.gather(x, keys % beam, batch_dims=1), (keys // beam)[..., None]], axis=2)
        for x in prefix
    )


def _extensions(
    logits: Any,
    length: Any,
    options: SearchOptions,
    eos_id: int,
    pad_id: int,
    filtering: Filtering | None,
    state: _State,
) -> tuple[Any, Any]:
    """Log-probabilities and ids `[b * beam, k]` of the best next tokens of each hypothesis."""
    beam, min_length = options.beam_size, options.min_length
    # One of them may be the end token where it is not allowed: 2 * beam leave enough others.
    k = min(2 * beam, logits.shape[1] - 1)
    best = ops.top_k_log_probs(logits, k, forbidden=pad_id)
    log_probs, ids = best
    if min_length > 1:
        too_early = (ids == eos_id) & (length < min_length)
        log_probs = tf.where(too_early, -np.inf, log_probs)

    def some() -> tuple[Any, Any]:
        """All that the filters leave."""
        if filtering is None:
            return log_probs, ids
        return filtering.heed(
            logits, (log_probs, ids), best[0], state.prefix[0], state.live, length < min_length
        )

    def only_end() -> tuple[Any, Any]:
        """The end token alone, with the log-probability that the model gives it."""
        log_sum = tf.gather(logits, ids[:, 0], batch_dims=1) - log_probs[:, 0]
        log_prob = logits[:, eos_id] - log_sum
        empty = [[0, 0], [0, k - 1]]
        return tf.pad(log_prob[:, None], empty, constant_values=-np.inf), tf.fill(
            tf.shape(ids), eos_id
        )

    return tf.cond(length < options.max_length, some, only_end)


def _best_candidates(log_probs: Any, ids: Any, live: Any, beam: int) -> tuple[Any, Any]:
    """The `2 * beam` best continuations of each sentence (fewer of a tiny vocabulary).

    Returns:
        Sums of log-probabilities and keys `token * beam + parent`, `[b, 2 * beam]`, best first.
    """
    k = log_probs.shape[1]
    scores = tf.reshape(log_probs, [-1, beam, k]) + live[:, :, None]
    scores = tf.reshape(scores, [-1, beam * k])
    keys = tf.reshape(ids, [-1, beam, k]) * beam + np.arange(beam, dtype=np.int32)[:, None]
    keys = tf.reshape(keys, [-1, beam * k])
    count = min(2 * beam, beam * k)
    if beam == 1:  # `top_k_log_probs` has put them in this order
        return scores, keys
    # top_k keeps the order of equals, so sorting by key first settles ties.
    negated, order = tf.math.top_k(-keys, beam * k)
    scores, places = tf.math.top_k(tf.gather(scores, order, batch_dims=1), count)
    return scores, -tf.gather(negated, places, batch_dims=1)


def _merge_ended(
    state: _State, scores: Any, keys: Any, is_end: Any, divisor: Any, length: Any, beam: int
) -> tuple[Any, Any]:
    """The best `beam` of the ended hypotheses and those that end now; the older win ties."""
    new = tf.where(is_end[:, :beam], scores[:, :beam] / divisor, -np.inf)
    ended, places = tf.math.top_k(tf.concat([state.ended, new], axis=1), beam)
    ends = tf.concat([state.ends, length * beam + keys[:, :beam] % beam], axis=1)
    return ended, tf.gather(ends, places, batch_dims=1)


def _trace_back(
    results: Any, history: Any, beam: int, count: int, eos_id: int, pad_id: int
) -> SearchResult:
    """Follows the parents from each ended hypothesis to its beginning."""
    scores, ends = (x[:, :count] for x in results)
    lengths = tf.where(scores > -np.inf, ends // beam, 0)
    longest = tf.reduce_max(tf.concat([[0], tf.reshape(lengths, [-1])], axis=0))

    def back(t: Any, place: Any, tokens: Any) -> tuple[Any, Any, Any]:
        keys = tf.gather(history.read(t), place, batch_dims=1)
        inside = t < lengths - 1
        at_end = tf.where(t == lengths - 1, eos_id, pad_id)
        tokens = tokens.write(t, tf.where(inside, keys // beam, at_end))
        return t - 1, tf.where(inside, keys % beam, place), tokens

    # One more than needed, since a list of nothing can't be stacked.
    tokens = tf.TensorArray(
        tf.int32, size=longest + 1, element_shape=[None, count], infer_shape=False
    ).write(longest, tf.zeros_like(lengths))
    _, _, tokens = tf.while_loop(
        lambda t, *_: t >= 0, back, (longest - 1, ends % beam, tokens), parallel_iterations=1
    )
    return SearchResult(tf.transpose(tokens.stack()[:longest], [1, 2, 0]), lengths, scores)
