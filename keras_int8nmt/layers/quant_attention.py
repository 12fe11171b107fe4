"""`QuantAttention`: `keras.layers.MultiHeadAttention` plus its observers and a cache."""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_int8nmt.layers.attention_math import (
    attention_probabilities,
    causal_mask,
    filled_mask,
    known_keys,
    known_rows,
    merge_masks,
    place_mask,
    project,
    write_cache,
)
from keras_int8nmt.layers.keras_masks import take_masks, with_mask
from keras_int8nmt.layers.matmuls import MatMul, attention_matmuls
from keras_int8nmt.layers.observing.branches import when
from keras_int8nmt.layers.observing.fake_quant import fake_quantize_probabilities
from keras_int8nmt.layers.observing.fixed_scale import FixedScale
from keras_int8nmt.layers.observing.learned_threshold import (
    split_learned,
    start_learned,
    with_learned,
)
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.observing.switch import SIMULATING
from keras_int8nmt.layers.projections import (
    CROSS_ATTENTION,
    SELF_ATTENTION,
    SEPARATE_INPUTS,
    ProjectionGroup,
)
from keras_int8nmt.layers.quant_layer import QuantLayer
from keras_int8nmt.quantization import QuantParams

Cache = tuple[Any, Any]
PROBABILITIES = QuantParams(np.float32(255), 0, "uint8")


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class QuantAttention(keras.layers.MultiHeadAttention, QuantLayer):
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
        signature = inspect.signature(keras.layers.MultiHeadAttention.__init__)
        given = signature.bind(self, *args, **kwargs).arguments
        self._static_reasons = [
            f"{name} is computed in float"
            for name in ("use_gate", "sliding_window", "flash_attention")
            if given.get(name)
        ]
        if keras.config.is_flash_attention_enabled() and not given.get("flash_attention"):
            self._static_reasons.append("flash_attention is computed in float")
        # What a call was asked for that INT8 can't do.
        self._call_reasons: set[str] = set()
        self.probabilities = FixedScale(PROBABILITIES)
        # With dropout the parent takes another road, where a row with no allowed key has another
        # result. Its own two layers are private; this dropout draws from the same seed.
        self.softmax = self.probability_dropout = None
        if self.dropout > 0.0:
            self.softmax = keras.layers.Softmax(dtype="float32")
            self.probability_dropout = keras.layers.Dropout(
                self.dropout, seed=self.seed, dtype=self.dtype_policy
            )
        self.query_input = Observer(name="query_input")
        self.value_input = Observer(name="value_input", optional=True)
        self.key_input = Observer(name="key_input", optional=True)
        self.query = Observer(signed=True, channel_axes=2, name="query_observer")
        self.key = Observer(signed=True, channel_axes=2, name="key_observer")
        self.value = Observer(signed=True, channel_axes=2, name="value_observer")
        self.context = Observer(channel_axes=2, name="context_observer")

    # The arguments of the installed Keras, which differ from version to version.
    __init__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        keras.layers.MultiHeadAttention.__init__
    )

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        super().build(query_shape, value_shape, key_shape)
        self.query_input.build(query_shape)
        self.value_input.build(value_shape)
        self.key_input.build(value_shape if key_shape is None else key_shape)
        for observer, width in (
            (self.query, self.key_dim),
            (self.key, self.key_dim),
            (self.value, self.value_dim),
            (self.context, self.value_dim),
        ):
            observer.build((None, None, self.num_heads, width))

    def get_build_config(self) -> Any:
        return with_learned(super().get_build_config(), self._observers())

    def build_from_config(self, config: Any) -> None:
        config, names = split_learned(config)
        super().build_from_config(config)
        start_learned(self._observers(), names)

    def _observers(self) -> tuple[Observer, ...]:
        inputs = self.query_input, self.value_input, self.key_input
        return (*inputs, self.query, self.key, self.value, self.context)

    def observed_inputs(self) -> dict[ProjectionGroup, Observer]:
        """Which projections read one tensor, as the layer was called in calibration; who saw it.

        An input observer sees nothing where the layer was called with one tensor for two inputs:
        the other one stands in.
        """
        query = self.query_input
        value = self.value_input if self.value_input.is_calibrated else query
        key = self.key_input if self.key_input.is_calibrated else value
        if key is value is query:
            return dict(zip(SELF_ATTENTION, (query,), strict=True))
        if key is value:
            return dict(zip(CROSS_ATTENTION, (query, value), strict=True))
        return dict(zip(SEPARATE_INPUTS, (query, key, value), strict=True))

    def matmuls(self) -> list[MatMul]:
        return attention_matmuls(
            self,
            {
                "query": [self.query_input],
                "key": [self.key_input, self.value_input, self.query_input],
                "value": [self.value_input, self.query_input],
                "QK": [self.query, self.key],
                "AV": [self.probabilities, self.value],
                "attention_output": [self.context],
            },
        )

    def unsupported_reasons(self) -> list[str]:
        """Why this layer can't become INT8; empty if it can. Complete once the layer was called."""
        return [*self._layer_reasons(), *sorted(self._call_reasons)]

    def _layer_reasons(self) -> list[str]:
        reasons = list(self._static_reasons)
        if not self.built:
            return reasons
        dense = (self.query_dense, self.key_dense, self.value_dense, self.output_dense)
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
        reasons = self._layer_reasons()
        if reasons:
            raise ValueError(f"{self.name} can't use a cache: {'; '.join(reasons)}.")
        return self._project_key_value(None, None, value, key, mask)

    def _project_query(self, query: Any, mask: Any) -> tuple[Any, Any]:
        """The query input as observed, and its projection."""
        x = self.query_input.watch(query, mask)
        q = project(self.query_dense, x, self.query_input.quantize_weights, 1)
        return x, self.query.watch(q, mask)

    def _project_key_value(
        self, query: Any, observed_query: Any, value: Any, key: Any, mask: Any
    ) -> Cache:
        """Keys and values; an input that is the query (or the value) itself is observed once."""
        if value is query:
            v = observed_query
        else:
            v = self.value_input.watch(value, mask, (self.query_input,))
        if key is None or key is value:
            k = v
        else:
            k = self.key_input.watch(key, mask, (self.value_input, self.query_input))
        quantize = self.query_input.quantize_weights
        keys = self.key.watch(project(self.key_dense, k, quantize, 1), mask)
        return keys, self.value.watch(project(self.value_dense, v, quantize, 1), mask)

    def _attend(self, query: Any, keys: Any, values: Any, mask: Any, training: Any) -> Any:
        """The context `[b, t, n, h]` of projected inputs."""
        scale = 1.0 / math.sqrt(self.key_dim)
        probabilities = attention_probabilities(query, keys, mask, scale, self.softmax)
        self.probabilities.show(probabilities)

        def simulated() -> Any:
            p = probabilities
            if mask is not None:
                # A row with no allowed key: all keys alike in the parent, none in INT8.
                p = ops.where(ops.any(mask, axis=-1, keepdims=True), p, 0.0)
            return fake_quantize_probabilities(p)

        simulating = ops.equal(self.query_input.switch.value, SIMULATING)
        probabilities = ops.cast(when(simulating, simulated, probabilities), values.dtype)
        if self.probability_dropout is not None:
            probabilities = self.probability_dropout(probabilities, training=training)
        return ops.einsum("bnts,bsnh->btnh", probabilities, values)

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
        if return_attention_scores or self._layer_reasons():
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
        # The masks over the new keys and over the queries, made only where something observes.
        new_keys = partial(
            known_keys, None if cache is not None else attention_mask, value_mask, key_mask, value
        )
        rows = new_keys if query_mask is None and value is query else (lambda: query_mask)
        x, q = self._project_query(query, rows)
        if cache is None:
            keys, values = self._project_key_value(query, x, value, key, new_keys)
        elif cache_index is None:
            keys, values = cache
        else:
            updates = self._project_key_value(query, x, value, key, new_keys)
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
        context = self._attend(q, keys, values, mask, training)
        context = self.context.watch(context, partial(known_rows, mask, rows))
        output = project(self.output_dense, context, self.context.quantize_weights, 2)
        output = with_mask(output, carried)
        return output if cache is None else (output, cache)

    def _check_call(
        self, value: Any, attention_mask: Any, scores: bool, cache: Any, cache_index: Any
    ) -> None:
        if scores:
            self._call_reasons.add("return_attention_scores is computed in float")
        if attention_mask is not None and len(attention_mask.shape) == 4:
            self._call_reasons.add("an attention_mask for each head is computed in float")
        if cache is None and cache_index is not None:
            raise ValueError("`cache_index` needs `cache`: the keys and values to write into.")
        if value is None and (cache is None or cache_index is not None):
            raise ValueError("`value` can be None only with `cache` and without `cache_index`.")
        if cache is None:
            return
        reasons = self._layer_reasons()
        if scores:
            reasons = [*reasons, "return_attention_scores is computed in float"]
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
