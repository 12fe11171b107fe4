"""`QuantGroupQueryAttention`: `keras.layers.GroupQueryAttention` plus its observers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.attention_math import causal_mask, known_keys, known_rows, merge_masks
from keras_int8nmt.layers.observed_attention import ObservedAttention


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantGroupQueryAttention(ObservedAttention, keras.layers.GroupQueryAttention):
    """A `keras.layers.GroupQueryAttention` that can be calibrated, simulated and converted.

    Until told otherwise it computes what its Keras parent computes, and trains like it; its
    observers are those of `QuantAttention`. Keys and values are not repeated: the heads of queries
    that share a head of keys are further rows of it, `[b, t * heads a group, groups, head_dim]`,
    and `query` watches them so. When simulating, all four projections, QK^T and AV compute with the
    values that int8 has; softmax stays float.

    What INT8 can't do computes in float by the parent's own code, and `unsupported_reasons()` names
    it: `use_gate`, `sliding_window`, `flash_attention`, `return_attention_scores=True`, and an
    `attention_mask` for each head. A row with no allowed key attends to all keys alike in float, to
    none when simulating (and in INT8).

    Args:
        The arguments of `keras.layers.GroupQueryAttention`.

    Call arguments:
        Those of `keras.layers.GroupQueryAttention`. Masked positions are not observed.

    Example:

        >>> layer = QuantGroupQueryAttention(head_dim=8, num_query_heads=4, num_key_value_heads=2)
        >>> x = keras.ops.ones((1, 5, 16))
        >>> layer(x, x, use_causal_mask=True).shape
        (1, 5, 16)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        parent = keras.layers.GroupQueryAttention
        self._static_reasons = self.reasons_of_arguments(parent, args, kwargs)
        self.num_heads = self.num_query_heads
        self.key_dim = self.value_dim = self.head_dim
        self.add_dropout(self.seed, self.dtype_policy)
        self.add_observers()

    # The arguments of the installed Keras, which differ from version to version.
    __init__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        keras.layers.GroupQueryAttention.__init__
    )

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        super().build(query_shape, value_shape, key_shape)
        shapes = query_shape, value_shape, key_shape
        self.build_observers(*shapes, self.num_key_value_heads, self.num_query_heads)

    # Keras has no public names for them here, as it has in `MultiHeadAttention`.

    @property
    def query_dense(self) -> Any:
        """The projection of queries."""
        return self._query_dense

    @property
    def key_dense(self) -> Any:
        """The projection of keys."""
        return self._key_dense

    @property
    def value_dense(self) -> Any:
        """The projection of values."""
        return self._value_dense

    @property
    def output_dense(self) -> Any:
        """The output projection."""
        return self._output_dense

    def layer_reasons(self) -> list[str]:
        reasons = list(self._static_reasons)
        if self.built and any(d.quantization_mode is not None for d in self.dense_layers()):
            reasons.append("Keras' own quantization is on")
        return reasons

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
    ) -> Any:
        for_each_head = self.note_call(attention_mask, return_attention_scores)
        if return_attention_scores or for_each_head or self.layer_reasons():
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
        # The masks over the keys and over the queries, made only where something observes.
        new_keys = partial(known_keys, attention_mask, value_mask, key_mask, value)
        rows = new_keys if query_mask is None and value is query else (lambda: query_mask)
        x, q = self.project_query(query, rows)
        q = self.query.watch(self._as_rows(q), self._repeated(rows))
        keys, values = self.project_key_value(query, x, value, key, new_keys)
        length = ops.shape(query)[1]
        allowed = causal_mask(length, ops.shape(keys)[1]) if use_causal_mask else None
        mask = merge_masks(attention_mask, query_mask, value_mask, key_mask, allowed)
        repeated = mask
        if mask is not None and self.num_repeats > 1:
            repeated = ops.logical_and(mask, ops.ones((1, 1, length, 1), "bool"))
            repeated = ops.repeat(repeated, self.num_repeats, axis=2)
        context = self._as_heads(self.attend(q, keys, values, repeated, training), length)
        return self.project_output(context, partial(known_rows, mask, rows))

    def _as_rows(self, query: Any) -> Any:
        """Queries `[b, t, heads, dim]` as rows of their groups, `[b, t * repeats, groups, dim]`."""
        if self.num_repeats == 1:
            return query
        batch, length = ops.shape(query)[:2]
        groups, repeats = self.num_key_value_heads, self.num_repeats
        x = ops.reshape(query, (batch, length, groups, repeats, self.head_dim))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (batch, length * repeats, groups, self.head_dim))

    def _as_heads(self, context: Any, length: Any) -> Any:
        """What `_as_rows` did, undone."""
        if self.num_repeats == 1:
            return context
        batch = ops.shape(context)[0]
        groups, repeats = self.num_key_value_heads, self.num_repeats
        x = ops.reshape(context, (batch, length, repeats, groups, self.head_dim))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (batch, length, groups * repeats, self.head_dim))

    def _repeated(self, rows: Callable[[], Any]) -> Callable[[], Any]:
        """What makes the mask over the rows of `_as_rows`, of what makes that over queries."""

        def repeated() -> Any:
            mask = rows()
            return None if mask is None else ops.repeat(mask, self.num_repeats, axis=1)

        return repeated
