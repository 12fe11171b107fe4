"""`AttentionPlan`: all that a frozen attention is told beside its weights, and what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.product_plan import ProductPlan
from keras_int8nmt.layers.projections import (
    MATMULS,
    PROJECTIONS,
    TENSOR_PRODUCTS,
    ProjectionGroup,
    each_once,
)
from keras_int8nmt.ops.attention_settings import AttentionSettings
from keras_int8nmt.ops.integer_rules import require_arithmetic
from keras_int8nmt.quantization import PRECISIONS, QuantParams


@dataclass(frozen=True)
class AttentionPlan:
    """Sizes, precisions and scales of an attention, of which groups and factors follow.

    Attributes:
        num_heads, key_dim, value_dim: As in `keras.layers.MultiHeadAttention`.
        precision: "int8" or "float32" of each of MATMULS.
        inputs: By the projections that read one tensor, how INT8 ones read it: as these codes, or
            None: with a scale a row, found when it is multiplied.
        heads: `QuantParams` (int8, zero point 0) of "query", "key" and "value", as they are handed
            on where INT8 products read them. Empty where scales are dynamic.
        context: `QuantParams` of the input of an INT8 output projection; None where scales are
            dynamic.
        softmax: "float", or "integer" as in `integer_rules`.
        repeats: Heads of queries that share one of `num_heads` heads of keys and values; a row of
            queries has those of each repeat side by side, `[repeats, num_heads, key_dim]`.
        scaled: Whether dot products are divided by the root of `key_dim`.

    Raises:
        ValueError: for inputs that do not name each projection once, for another precision, and
            for INT8 products of two tensors where scales are dynamic.
    """

    num_heads: int
    key_dim: int
    value_dim: int
    precision: Mapping[str, str]
    inputs: Mapping[ProjectionGroup, QuantParams | None]
    heads: Mapping[str, QuantParams]
    context: QuantParams | None = None
    softmax: str = "float"
    repeats: int = 1
    scaled: bool = True

    def __post_init__(self) -> None:
        if not each_once(self.inputs):
            raise ValueError(
                f"`inputs` must name each of {', '.join(PROJECTIONS)} once, those of one tensor "
                f'joined by "_"; received {[str(group) for group in self.inputs]}.'
            )
        named = set(self.precision) == set(MATMULS)
        if not named or not set(self.precision.values()) <= set(PRECISIONS):
            raise ValueError(
                f"`precision` must say {' or '.join(PRECISIONS)} of each of {', '.join(MATMULS)}; "
                f"received {dict(self.precision)}."
            )
        if not self.heads and any(self.is_int8(name) for name in TENSOR_PRODUCTS):
            raise ValueError(
                f"{' and '.join(TENSOR_PRODUCTS)} are float32 where scales are dynamic; received "
                f"{dict(self.precision)}."
            )
        require_arithmetic("softmax", self.softmax)

    def is_int8(self, name: str) -> bool:
        """Whether the weights, or both tensors, of `name` of MATMULS are INT8."""
        return self.precision[name] == "int8"

    def width(self, name: str) -> int:
        """Columns of a projection."""
        width = self.num_heads * (self.value_dim if name == "value" else self.key_dim)
        return width * self.repeats if name == "query" else width

    def written(self, name: str) -> QuantParams | None:
        """How a projection is handed on: as its reader multiplies, whatever it computes in."""
        return self.heads[name] if self.is_int8("AV" if name == "value" else "QK") else None

    @cached_property
    def projections(self) -> dict[ProjectionGroup, ProductPlan]:
        """The products that give the projections, each of those that it gives.

        INT8 projections of one tensor that are written in one type share a product; a float one is
        by itself.
        """
        found = {}
        for tensor, params in self.inputs.items():
            shared: dict[Any, list[str]] = {}
            for name in tensor.names:
                alone = not self.is_int8(name)
                shared.setdefault(name if alone else self.written(name) is None, []).append(name)
            for names in shared.values():
                found[ProjectionGroup(tuple(names))] = ProductPlan(
                    self.is_int8(names[0]), params, tuple(self.written(name) for name in names)
                )
        return found

    @property
    def output(self) -> ProductPlan:
        """The output projection."""
        return ProductPlan(self.is_int8("attention_output"), self.context)

    @property
    def context_codes(self) -> QuantParams | None:
        """How the context is written; None for float32."""
        return self.context if self.is_int8("attention_output") else None

    def place_of(self, name: str) -> tuple[ProjectionGroup, int]:
        """The group that the projection `name` is in, and its first column there."""
        for group in self.projections:
            if name in group.names:
                before = group.names[: group.names.index(name)]
                return group, sum(self.width(other) for other in before)
        raise KeyError(name)

    @property
    def score_scale(self) -> float:
        """Factor from dot products of queries and keys to scores, a float32 number."""
        step = 1.0
        if self.is_int8("QK"):
            step = 1.0 / float(self.heads["query"].scale)
            step *= 1.0 / float(self.heads["key"].scale)
        return float(np.float32(step / math.sqrt(self.key_dim) if self.scaled else step))

    @property
    def context_scale(self) -> float:
        """Factor from sums of probabilities times values to what is written, a float32 number."""
        # The probabilities are uint8 at the fixed scale 255 where AV is INT8.
        step = 1.0 / float(self.heads["value"].scale) / 255.0 if self.is_int8("AV") else 1.0
        codes = self.context_codes
        return float(np.float32(step * (1.0 if codes is None else float(codes.scale))))

    def settings(self, query: int, key: int, value: int, causal: bool) -> AttentionSettings:
        """The attention op's, with the first columns of query, key and value in their tensors."""
        codes = self.context_codes
        return AttentionSettings(
            num_heads=self.num_heads,
            head_dim=self.key_dim,
            value_dim=self.value_dim,
            scale=self.score_scale,
            softmax=self.softmax,
            out_scale=self.context_scale,
            out_zero_point=0 if codes is None else codes.zero_point,
            out_dtype="float32" if codes is None else codes.dtype,
            causal=causal,
            query_column=query,
            key_column=key,
            value_column=value,
        )

    def make_cache(self, batch: Any, capacity: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """An empty key/value cache of `capacity` positions."""
        keys, values = (
            tf.zeros(
                (batch, capacity, self.width(name)),
                "float32" if self.written(name) is None else "int8",
            )
            for name in ("key", "value")
        )
        return keys, values
