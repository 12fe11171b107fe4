"""`AttentionCore`: a frozen attention's plan and its products; knows nothing of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.dynamic_matmul import Weights
from keras_int8nmt.layers.inference.product_plan import Product
from keras_int8nmt.layers.projections import ProjectionGroup
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.runtime.model_spec import Part
from keras_int8nmt.runtime.spec_parts import written

# What stored weights of the output projection are named by.
_OUTPUT = "output_"


class Projected(NamedTuple):
    """A projection: the tensor that it lies in, and its first column there."""

    tensor: tf.Tensor
    column: int = 0


@dataclass(frozen=True)
class AttentionCore:
    """Attention with everything fixed.

    Attributes:
        plan: How it computes.
        projections: The products of `plan.projections`.
        output: The output projection.
    """

    plan: AttentionPlan
    projections: Mapping[ProjectionGroup, Product]
    output: Product

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`."""
        plan = self.plan
        products = {
            str(group): plan.projections[group].spec(product, packed)
            for group, product in self.projections.items()
        }
        return {
            "heads": plan.num_heads,
            "head_dim": plan.key_dim,
            "value_dim": plan.value_dim,
            "key_type": plan.precision["QK"],
            "value_type": plan.precision["AV"],
            "scale": plan.score_scale,
            "softmax": plan.softmax,
            "context": {
                "scale": plan.context_scale,
                **written(plan.context_codes, plan.context_scale),
            },
            **products,
            "output": plan.output.spec(self.output, packed),
        }

    @classmethod
    def from_float(
        cls, plan: AttentionPlan, kernels: Mapping[str, Weights], output: Weights, **rule: Any
    ) -> AttentionCore:
        """Of float weights.

        Args:
            plan: How it shall compute.
            kernels: `(kernel [d, columns], bias [columns] or None)` of each projection by name.
            output: `(kernel [num_heads * value_dim, units], bias)`.
            **rule: How weights are quantized, see `PackedMatmul.from_float`.
        """
        projections = {
            group: product.from_float([kernels[name] for name in group.names], **rule)
            for group, product in plan.projections.items()
        }
        return cls(plan, projections, plan.output.from_float([output], **rule))

    @classmethod
    def load(cls, plan: AttentionPlan, store: Any) -> AttentionCore:
        """What `save` wrote, of an attention of the same plan."""
        projections = {
            group: product.kind.load(store, f"{group}_")
            for group, product in plan.projections.items()
        }
        return cls(plan, projections, plan.output.kind.load(store, _OUTPUT))

    def save(self, store: Any) -> None:
        for group, product in self.projections.items():
            product.save(store, f"{group}_")
        self.output.save(store, _OUTPUT)

    def project(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, Projected]:
        """The projection of each input, by name; one product per group and tensor."""
        done: dict[tuple[int, ProjectionGroup], tf.Tensor] = {}
        projected = {}
        for name, x in inputs.items():
            group, column = self.plan.place_of(name)
            if (id(x), group) not in done:
                product = self.projections[group]
                done[id(x), group] = self.plan.projections[group].run(product, x)
            projected[name] = Projected(done[id(x), group], column)
        return projected

    def cut(self, name: str, projected: Projected) -> tf.Tensor:
        """A projection's own columns."""
        tensor, column = projected
        return tensor[..., column : column + self.plan.width(name)]

    def attend(
        self,
        query: Projected,
        keys: Projected,
        values: Projected,
        *,
        lengths: tf.Tensor,
        mask: tf.Tensor | None,
        causal: bool,
        offset: Any,
        bias: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The output of projected inputs, float32 `[..., units]`; see `ops.int8_attention`.

        Where the plan has `repeats`, each row of queries is one for each of them, and the mask is
        told by the row of `query`; `causal` must be in it, and there is no `bias`.
        """
        repeats = self.plan.repeats
        if repeats > 1:
            query, mask = self._repeated(query, mask)
        settings = self.plan.settings(query.column, keys.column, values.column, causal)
        context = ops.attention(
            query.tensor,
            keys.tensor,
            values.tensor,
            lengths,
            settings,
            mask=mask,
            offset=offset,
            bias=bias,
        )
        if repeats > 1:
            batch, rows = tf.shape(context)[0], tf.shape(context)[1]
            context = tf.reshape(context, (batch, rows // repeats, repeats * context.shape[-1]))
        return self.plan.output.run(self.output, context)

    def _repeated(
        self, query: Projected, mask: tf.Tensor | None
    ) -> tuple[Projected, tf.Tensor | None]:
        """Queries and their mask, a row for each of the heads that share keys."""
        repeats = self.plan.repeats
        rows = self.cut("query", query)
        batch, length = tf.shape(rows)[0], tf.shape(rows)[1]
        width = self.plan.width("query") // repeats
        rows = tf.reshape(rows, (batch, length * repeats, width))
        if mask is not None:
            mask = tf.logical_and(mask, tf.ones((1, length, 1), tf.bool))
            mask = tf.repeat(mask, repeats, axis=1)
        return Projected(rows), mask
