"""`QuantCachedMultiHeadAttention`: KerasHub's `CachedMultiHeadAttention` plus its observers."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.attention_math import (
    attention_probabilities,
    known_keys,
    known_rows,
    merge_masks,
    write_cache,
)
from keras_int8nmt.layers.quant_attention import QuantAttention


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantCachedMultiHeadAttention(QuantAttention):
    """`keras_hub.layers.CachedMultiHeadAttention` as a layer that can become INT8.

    It is called as that is, computes what that computes until told otherwise, and takes its place
    in KerasHub's decoders and their `generate`; KerasHub is not imported. Observers and what INT8
    can't do are those of `QuantAttention`.

    Args:
        The arguments of `keras.layers.MultiHeadAttention`.

    Call arguments:
        query, value, key: Float tensors `[b, t, d]`, `[b, s, d]`, `[b, s, d]`; `key` is `value` by
            default.
        attention_mask: bool `[t, s]`, `[b, t, s]` or `[b, heads, t, s]`. Keys that no query may
            attend to are not observed.
        cache: Float tensor `[b, 2, capacity, heads, key_dim]` of projected keys and values; s is
            then the capacity in the mask.
        cache_update_index: int32 scalar: the projections of `key` and `value` are written to the
            cache at positions from it on. Without it the cache is used as it is.
        return_attention_scores, training: As in the parent.

    Returns:
        `[b, t, d]`; a tuple of it, of the scores `[b, heads, t, s]` where they are asked for, and
        of the cache where there is one.

    Example:

        >>> layer = QuantCachedMultiHeadAttention(num_heads=2, key_dim=8)
        >>> x = keras.ops.ones((1, 1, 16))
        >>> cache = keras.ops.zeros((1, 2, 5, 2, 8))
        >>> output, cache = layer(x, x, cache=cache, cache_update_index=0)
        >>> output.shape
        (1, 1, 16)
    """

    # In files of weights: see `load_plain_weights`.
    stands_for = "CachedMultiHeadAttention"

    def call(  # type: ignore[override]
        self,
        query: Any,
        value: Any,
        key: Any = None,
        attention_mask: Any = None,
        cache: Any = None,
        cache_update_index: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        if cache is None and cache_update_index is not None:
            raise ValueError("`cache_update_index` needs `cache`: the keys and values to write to.")
        self.note_call(attention_mask, return_attention_scores)
        # The mask over the new keys, made only where something observes.
        seen = None if cache is not None else attention_mask
        new_keys = partial(known_keys, seen, None, None, value)
        rows = new_keys if value is query else (lambda: None)
        x, q = self.project_query(query, rows)
        q = self.query.watch(q, rows)
        if cache is None:
            keys, values = self.project_key_value(query, x, value, key, new_keys)
        else:
            keys, values = cache[:, 0, ...], cache[:, 1, ...]
            if cache_update_index is not None:
                updates = self.project_key_value(query, x, value, key, new_keys)
                keys = write_cache(keys, updates[0], cache_update_index)
                values = write_cache(values, updates[1], cache_update_index)
                cache = ops.stack((keys, values), axis=1)
        mask = merge_masks(attention_mask)
        context = self.attend(q, keys, values, mask, training)
        output = self.project_output(context, partial(known_rows, mask, rows))
        given = [output]
        if return_attention_scores:
            scores = attention_probabilities(q, keys, mask, self.key_dim**-0.5, self.softmax)
            given.append(ops.cast(scores, self.compute_dtype))
        if cache is not None:
            given.append(cache)
        return given[0] if len(given) == 1 else tuple(given)

    def call_cached(
        self,
        query: Any,
        attention_mask: Any = None,
        cache: Any = None,
        cache_update_index: Any = None,
    ) -> Any:
        """A step of self-attention, as KerasHub's decoders ask for one in `generate`."""
        return self.call(
            query,
            query,
            attention_mask=attention_mask,
            cache=cache,
            cache_update_index=cache_update_index,
            training=False,
        )
