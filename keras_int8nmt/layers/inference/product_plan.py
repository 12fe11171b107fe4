"""`ProductPlan`: which arithmetic a product with weights has, how it reads and how it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.layers.inference.dynamic_matmul import DynamicMatmul, Weights
from keras_int8nmt.layers.inference.float_matmul import FloatMatmul
from keras_int8nmt.layers.inference.frozen_layer import as_codes
from keras_int8nmt.layers.inference.packed_matmul import PackedMatmul, Section
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import Part

Product = PackedMatmul | DynamicMatmul | FloatMatmul


@dataclass(frozen=True)
class ProductPlan:
    """How a product with weights computes, known before there are weights.

    Attributes:
        int8: Whether the weights are INT8.
        input: The codes that an INT8 product reads; None where it reads float32 and gives each row
            a scale of its own.
        outputs: How each section of the output columns is written, all of them in one type; None
            is float32. A float product has one section.
    """

    int8: bool
    input: QuantParams | None = None
    outputs: tuple[QuantParams | None, ...] = (None,)

    @property
    def kind(self) -> type[PackedMatmul] | type[DynamicMatmul] | type[FloatMatmul]:
        """The class of the product."""
        if not self.int8:
            return FloatMatmul
        return DynamicMatmul if self.input is None else PackedMatmul

    def from_float(self, weights: Sequence[Weights], **rule: Any) -> Product:
        """The product of float weights, those of its sections in order.

        `rule`: how weights are quantized, see `PackedMatmul.from_float`.
        """
        if not self.int8:
            ((kernel, bias),) = weights
            return FloatMatmul(np.asarray(kernel), bias)
        if self.input is None:
            return DynamicMatmul.from_float(*weights, **rule)
        pairs = zip(weights, self.outputs, strict=True)
        sections = [Section(kernel, bias, output) for (kernel, bias), output in pairs]
        return PackedMatmul.from_float(sections, self.input, **rule)

    def spec(self, product: Product, packed: bool) -> Part:
        """The part of a `ModelSpec` of `product`, made by this plan."""
        # Where it is codes, the scale of each section is in the product itself, unless that is
        # float32, which then has one section.
        output = self.outputs[0]
        if isinstance(product, PackedMatmul):
            assert self.input is not None
            return product.spec(packed, self.input, output)
        if isinstance(product, FloatMatmul):
            return product.spec(packed, output)
        return product.spec(packed)

    def run(self, product: Product, x: tf.Tensor) -> tf.Tensor:
        """What `product`, made by this plan, gives for float32 `x` or the codes it reads."""
        output = self.outputs[0]
        if isinstance(product, PackedMatmul):
            assert self.input is not None
            return product(as_codes(x, self.input), **PackedMatmul.output_step(output, "none"))
        y = product(x)
        return y if output is None else as_codes(y, output)
