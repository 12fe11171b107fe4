"""`ObservedAttention`: the observers of an attention, and what each of them watches."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.attention_math import attention_probabilities, project
from keras_int8nmt.layers.matmuls import MatMul, attention_matmuls
from keras_int8nmt.layers.observing.branches import apply_if
from keras_int8nmt.layers.observing.exported import product_output
from keras_int8nmt.layers.observing.fake_quant import PROBABILITIES, fake_quantize_probabilities
from keras_int8nmt.layers.observing.fixed_scale import FixedScale
from keras_int8nmt.layers.observing.learned_threshold import (
    split_learned,
    start_learned,
    with_learned,
)
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.observing.switch import SIMULATING, says
from keras_int8nmt.layers.projections import (
    CROSS_ATTENTION,
    SELF_ATTENTION,
    SEPARATE_INPUTS,
    ProjectionGroup,
)
from keras_int8nmt.layers.quant_layer import QuantLayer

Cache = tuple[Any, Any]
SCORES_REASON = "return_attention_scores is computed in float"


class ObservedAttention(QuantLayer):
    """Before its Keras parent, what every attention has that can be calibrated and converted.

    Observers: `query_input`, `key_input`, `value_input` (the inputs; the latter two see nothing
    when called with the very tensor that `query` or `value` is), `query`, `key`, `value`
    (projected) and `context` (the input of the output projection).

    It asks of the layer, once built: `query_dense`, `key_dense`, `value_dense` and `output_dense`
    (each a `keras.layers.EinsumDense`), or `dense_layers` that `project` computes; `num_heads`,
    `key_dim` and `value_dim`.
    """

    depends_on_calls = True

    query_dense: Any
    key_dense: Any
    value_dense: Any
    output_dense: Any
    num_heads: int
    key_dim: int
    value_dim: int
    dropout: float

    @staticmethod
    def reasons_of_arguments(
        parent: type[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> list[str]:
        """What a layer of the arguments of its Keras parent computes in float."""
        given = inspect.signature(parent.__init__).bind(None, *args, **kwargs).arguments
        # Those that the installed Keras has not named.
        given = {**given.get("kwargs", {}), **given}
        reasons = [
            f"{name} is computed in float"
            for name in ("use_gate", "sliding_window", "flash_attention")
            if given.get(name)
        ]
        if keras.config.is_flash_attention_enabled() and not given.get("flash_attention"):
            reasons.append("flash_attention is computed in float")
        return reasons

    def add_dropout(self, seed: Any, dtype: Any) -> None:
        """In `__init__`: makes the dropout of a layer whose `attend` is the one of this class.

        Args:
            seed: Of the layer's dropout.
            dtype: The policy of its dropout.
        """
        # With dropout the parent takes another road, where a row with no allowed key has another
        # result. Its own two layers are private; this dropout draws from the same seed.
        self.softmax = self.probability_dropout = None
        if self.dropout > 0.0:
            self.softmax = keras.layers.Softmax(dtype="float32")
            self.probability_dropout = keras.layers.Dropout(self.dropout, seed=seed, dtype=dtype)

    def add_observers(self) -> None:
        """In `__init__`: makes the observers."""
        # What a call was asked for that INT8 can't do.
        self._call_reasons: set[str] = set()
        self.probabilities = FixedScale(PROBABILITIES)
        self.query_input = Observer(name="query_input")
        self.value_input = Observer(name="value_input", optional=True)
        self.key_input = Observer(name="key_input", optional=True)
        self.query = Observer(signed=True, channel_axes=2, name="query_observer")
        self.key = Observer(signed=True, channel_axes=2, name="key_observer")
        self.value = Observer(signed=True, channel_axes=2, name="value_observer")
        self.context = Observer(channel_axes=2, name="context_observer")

    def build_observers(
        self, query_shape: Any, value_shape: Any, key_shape: Any, heads: int, context_heads: int
    ) -> None:
        """In `build`.

        Args:
            query_shape, value_shape, key_shape: Of the inputs; the last may be None.
            heads: Of queries, keys and values as they are multiplied.
            context_heads: Of the context as the output projection reads it.
        """
        self.query_input.build(query_shape)
        self.value_input.build(value_shape)
        self.key_input.build(value_shape if key_shape is None else key_shape)
        for observer, count, width in (
            (self.query, heads, self.key_dim),
            (self.key, heads, self.key_dim),
            (self.value, heads, self.value_dim),
            (self.context, context_heads, self.value_dim),
        ):
            observer.build((None, None, count, width))

    def get_build_config(self) -> Any:
        return with_learned(super().get_build_config(), self._observers())  # type: ignore[misc]

    def build_from_config(self, config: Any) -> None:
        config, names = split_learned(config)
        super().build_from_config(config)  # type: ignore[misc]
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
            self.dense_layers(),
        )

    def unsupported_reasons(self) -> list[str]:
        """Why this layer can't become INT8; empty if it can. Complete once the layer was called."""
        return [*self.layer_reasons(), *sorted(self._call_reasons)]

    def layer_reasons(self) -> list[str]:
        """What of that does not depend on how the layer is called."""
        return []

    def note_call(self, attention_mask: Any, return_attention_scores: bool) -> bool:
        """Notes what a call asks for that INT8 can't do; whether it has a mask for each head."""
        self.was_called = True
        for_each_head = attention_mask is not None and len(attention_mask.shape) == 4
        if return_attention_scores:
            self._call_reasons.add(SCORES_REASON)
        if for_each_head:
            self._call_reasons.add("an attention_mask for each head is computed in float")
        return for_each_head

    def dense_layers(self) -> tuple[Any, ...]:
        """The four projections, of query, key, value and output."""
        return self.query_dense, self.key_dense, self.value_dense, self.output_dense

    def project(self, dense: Any, x: Any, kernel: Callable[[Any, int], Any], summed: int) -> Any:
        """One of the four projections, see `attention_math.project`."""
        return project(dense, x, kernel, summed)

    def project_query(self, query: Any, mask: Any) -> tuple[Any, Any]:
        """The query input as observed, and its projection `[b, t, heads, key_dim]`.

        What multiplies it has it watched by `query`.
        """
        x = self.query_input.watch(query, mask)
        return x, self.project(self.dense_layers()[0], x, self.query_input.quantize_weights, 1)

    def project_key_value(
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
        _, key_dense, value_dense, _ = self.dense_layers()
        keys = self.key.watch(self.project(key_dense, k, quantize, 1), mask)
        return keys, self.value.watch(self.project(value_dense, v, quantize, 1), mask)

    def attend(self, query: Any, keys: Any, values: Any, mask: Any, training: Any) -> Any:
        """The context `[b, t, n, h]` of projected inputs."""
        scale = 1.0 / math.sqrt(self.key_dim)
        products = partial(product_output, self)
        probabilities = attention_probabilities(
            query, keys, mask, scale, self.softmax, partial(products, "QK")
        )
        probabilities = ops.cast(self.watch_probabilities(probabilities, mask), values.dtype)
        if self.probability_dropout is not None:
            probabilities = self.probability_dropout(probabilities, training=training)
        return products("AV", ops.einsum("bnts,bsnh->btnh", probabilities, values))

    def watch_probabilities(self, probabilities: Any, mask: Any = None) -> Any:
        """What a softmax gives, float32; as uint8 stands for it when simulating."""
        self.probabilities.show(probabilities)
        simulating = says(self.query_input.switch, SIMULATING)
        masks = () if mask is None else (mask,)
        return apply_if(simulating, fake_quantize_probabilities, probabilities, *masks)

    def project_output(self, context: Any, mask: Any) -> Any:
        """The output of a context `[b, t, heads, value_dim]`, with a mask over its rows."""
        context = self.context.watch(context, mask)
        return self.project(self.dense_layers()[3], context, self.context.quantize_weights, 2)
