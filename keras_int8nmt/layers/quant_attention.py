"""`QuantAttention`: `keras.layers.MultiHeadAttention` plus its observers and a cache."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.attention_math import (
    causal_mask,
    filled_mask,
    known_keys,
    known_rows,
    merge_masks,
    place_mask,
    write_cache,
)
from keras_int8nmt.layers.keras_masks import take_masks, with_mask
from keras_int8nmt.layers.observed_attention import SCORES_REASON, Cache, ObservedAttention


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantAttention(ObservedAttention, keras.layers.MultiHeadAttention):
    """A `keras.layers.MultiHeadAttention` that can be calibrated, simulated in INT8 and converted.

    Until told otherwise it computes what its Keras parent computes, and trains like it. Observers:
    `query_input`, `key_input`, `value_input` (the inputs; the latter two see nothing when called
    with the very tensor that `query` or `value` is), `query`, `key`, `value` (projected) and
    `context` (the input of the output projection). When simulating, all four projections, QK^T and
    AV compute with the values that int8 has, and the probabilities with those of uint8 at the fixed
    scale 255; softmax stays float.

    What INT8 can't do computes in float by the parent's own code, and `unsupported_reasons()` names
    it: `attention_axes`, inputs of rank other than 3, `use_gate`, `sliding_window`,
    `flash_attention`, an `output_shape` of several dimensions, `return_attention_scores=True`, and
    an `attention_mask` for each head.

    A row with no allowed key gives what it gives in the parent (which depends on the version of
    Keras and on `dropout`: it attends to all keys alike, or to none); when simulating (and in INT8)
    it attends to nothing: its context is zero.

    Args:
        The arguments of `keras.layers.MultiHeadAttention`.

    Call arguments:
        query, value, key: Float tensors `[b, t, d]`, `[b, s, d]`, `[b, s, d]`; `key` is `value` by
            default, and `value` may be None with `cache` and no `cache_index`.
        query_mask, value_mask, key_mask: bool `[b, t]`, `[b, s]`, `[b, s]`; by default the Keras
            masks of the inputs. Masked positions are not observed. As in the parent, which rows
            attend to nothing is told by the Keras mask of `query` alone, not by `query_mask`.
        attention_mask: bool `[t, s]`, `[b, t, s]` or `[b, heads, t, s]`.
        return_attention_scores, training, use_causal_mask: As in the parent.
        cache: Keyword-only. `(keys, values)`, projected, `[b, capacity, heads, key_dim]` and
            `[b, capacity, heads, value_dim]`, as `make_cache` and `compute_cache` give them.
        cache_index: Keyword-only. int32 scalar: the projections of `key` and `value` are written to
            the cache at positions `cache_index` and on, and the queries attend to the cache up to
            there (with `use_causal_mask`, query t up to `cache_index + t`). `cache_index + t` must
            not exceed the capacity. Without it the cache is used as it is. In both cases s is the
            capacity in the shapes of masks; a `value_mask` of the written positions alone is put
            where they are written.

    Returns:
        `[b, t, d]`, with `return_attention_scores` also `[b, heads, t, s]`; with `cache` it is
        `(output, cache)`.

    Example:

        >>> layer = QuantAttention(num_heads=2, key_dim=8)
        >>> x = keras.ops.ones((1, 5, 16))
        >>> layer(x, x, use_causal_mask=True).shape
        (1, 5, 16)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        parent = keras.layers.MultiHeadAttention
        self._static_reasons = self.reasons_of_arguments(parent, args, kwargs)
        if type(self)._compute_attention is not QuantAttention._compute_attention:
            # Where Keras documents that a subclass may compute in another way.
            self._static_reasons.append("a _compute_attention of its own is computed in float")
        self.add_dropout(self.seed, self.dtype_policy)
        self.add_observers()

    # The arguments of the installed Keras, which differ from version to version.
    __init__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        keras.layers.MultiHeadAttention.__init__
    )

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        super().build(query_shape, value_shape, key_shape)
        self.build_observers(query_shape, value_shape, key_shape, self.num_heads, self.num_heads)

    def layer_reasons(self) -> list[str]:
        reasons = list(self._static_reasons)
        if not self.built:
            return reasons
        dense = self.dense_layers()
        if any(len(d.equation.split(",")[0]) != 3 for d in dense[:3]):
            reasons.append("inputs of rank other than 3 are computed in float")
        elif tuple(self.attention_axes) != (1,):
            reasons.append("attention_axes is computed in float")
        if len(self.output_dense.kernel.shape) != 3:
            reasons.append("an output_shape of several dimensions is computed in float")
        if any(d.quantization_mode is not None for d in dense):
            reasons.append("Keras' own quantization is on")
        return reasons

    def make_cache(self, batch: Any, capacity: Any) -> Cache:
        """An empty cache of `capacity` positions, in the compute dtype."""
        keys = (batch, capacity, self.num_heads, self.key_dim)
        values = (batch, capacity, self.num_heads, self.value_dim)
        return ops.zeros(keys, self.compute_dtype), ops.zeros(values, self.compute_dtype)

    def compute_cache(self, value: Any, key: Any = None, mask: Any = None) -> Cache:
        """Projected keys and values, for calls with `cache` and no `cache_index`.

        Args:
            value: `[b, s, d]`.
            key: `[b, s, d]`; `value` by default.
            mask: bool `[b, s]`; masked positions are not observed.

        Returns:
            `(keys, values)`, `[b, s, heads, key_dim]` and `[b, s, heads, value_dim]`.
        """
        if not self.built:
            raise ValueError(f"{self.name} must be built before `compute_cache`.")
        reasons = self.layer_reasons()
        if reasons:
            raise ValueError(f"{self.name} can't use a cache: {'; '.join(reasons)}.")
        return self.project_key_value(None, None, value, key, mask)

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        cache: Cache | None = None,
        cache_index: Any = None,
    ) -> Any:
        self._check_call(value, attention_mask, return_attention_scores, cache, cache_index)
        if return_attention_scores or self.layer_reasons():
            return super().call(
                query,
                value,
                key=key,
                query_mask=query_mask,
                value_mask=value_mask,
                key_mask=key_mask,
                attention_mask=attention_mask,
                return_attention_scores=return_attention_scores,
                training=training,
                use_causal_mask=use_causal_mask,
            )
        carried = take_masks(query, value, key)
        # The masks over the new keys and over the queries, made where something may observe.
        new_keys = partial(
            known_keys, None if cache is not None else attention_mask, value_mask, key_mask, value
        )
        rows = new_keys if query_mask is None and value is query else (lambda: query_mask)
        x, q = self.project_query(query, rows)
        q = self.query.watch(q, rows)
        if cache is None:
            keys, values = self.project_key_value(query, x, value, key, new_keys)
        elif cache_index is None:
            keys, values = cache
        else:
            updates = self.project_key_value(query, x, value, key, new_keys)
            keys, values = cache = (
                write_cache(cache[0], updates[0], cache_index),
                write_cache(cache[1], updates[1], cache_index),
            )
            value_mask = place_mask(value_mask, value, keys, cache_index)
            key_mask = place_mask(key_mask, value, keys, cache_index)
        offset = 0 if cache_index is None else ops.cast(cache_index, "int32")
        allowed = None
        if use_causal_mask:
            allowed = causal_mask(ops.shape(q)[1], ops.shape(keys)[1], offset)
        elif cache_index is not None:
            allowed = filled_mask(ops.shape(keys)[1], offset + ops.shape(value)[1])
        mask = merge_masks(attention_mask, carried, value_mask, key_mask, allowed)
        context = self.attend(q, keys, values, mask, training)
        output = self.project_output(context, partial(known_rows, mask, rows))
        output = with_mask(output, carried)
        return output if cache is None else (output, cache)

    def _check_call(
        self, value: Any, attention_mask: Any, scores: bool, cache: Any, cache_index: Any
    ) -> None:
        self.note_call(attention_mask, scores)
        if cache is None and cache_index is not None:
            raise ValueError("`cache_index` needs `cache`: the keys and values to write into.")
        if value is None and (cache is None or cache_index is not None):
            raise ValueError("`value` can be None only with `cache` and without `cache_index`.")
        if cache is None:
            return
        reasons = self.layer_reasons()
        if scores:
            reasons = [*reasons, SCORES_REASON]
        if reasons:
            raise ValueError(f"{self.name} can't use a cache: {'; '.join(reasons)}.")

    def compute_output_spec(self, query: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        cache = kwargs.pop("cache", None)
        kwargs.pop("cache_index", None)
        stand_in = query if value is None else value
        output = super().compute_output_spec(query, stand_in, *args, **kwargs)
        if cache is None:
            return output
        return output, tuple(keras.KerasTensor(c.shape, dtype=c.dtype) for c in cache)
