"""What layers write into a graph that is exported, where a runtime wants more than observers know.

LiteRT multiplies in INT8 only where the output of a product has a range, too. Observers watch what
goes into products, so layers hand their outputs to `product_output`; all else of an export is in
`layers/exporting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_int8nmt.quantization import QuantParams

# A layer, by its identity, and which product of it.
ProductKey = tuple[int, str]


@dataclass(frozen=True)
class Product:
    """The output of a product in a graph.

    Attributes:
        layer: Whose it is.
        part: Which product of the layer; empty where there is one.
        output: The tensor.
    """

    layer: keras.layers.Layer
    part: str
    output: Any

    @property
    def key(self) -> ProductKey:
        """What tells it from other products."""
        return id(self.layer), self.part

    @property
    def name(self) -> str:
        """As in a conversion report."""
        return f"{self.layer.path}/{self.part}" if self.part else self.layer.path


class ProductsFound:
    """The form of a graph that is only looked at: it collects the products, in `products`."""

    def __init__(self) -> None:
        self.products: list[Product] = []

    def output(self, product: Product) -> Any:
        """The output as it is."""
        self.products.append(product)
        return product.output


class RangesWritten:
    """The form of a graph for LiteRT: outputs of products pass fake quantization.

    Args:
        ranges: Of each product; None where nothing reads the output but fake quantization.
    """

    def __init__(self, ranges: Mapping[ProductKey, QuantParams | None]) -> None:
        self._ranges = ranges

    def output(self, product: Product) -> Any:
        """The output as its codes stand for it.

        Raises:
            ValueError: naming the layer, for a product that has no range.
        """
        if product.key not in self._ranges:
            raise ValueError(
                f"LiteRT needs a range for the output of {product.name!r}, and the model did not "
                "compute it for `sample`: give a sample of all inputs that the export is for."
            )
        params = self._ranges[product.key]
        return product.output if params is None else written(product.output, params)


_LITERT: ContextVar[ProductsFound | RangesWritten | None] = ContextVar("litert", default=None)


@contextmanager
def litert_form(form: ProductsFound | RangesWritten) -> Iterator[None]:
    """In this block and thread graphs are made for LiteRT."""
    before = _LITERT.set(form)
    try:
        yield
    finally:
        _LITERT.reset(before)


def is_for_litert() -> bool:
    """Whether graphs are made for LiteRT now."""
    return _LITERT.get() is not None


def product_output(layer: keras.layers.Layer, part: str, output: Any) -> Any:
    """The output of a product of a layer, as it is written into a graph for LiteRT.

    Args:
        layer: The layer.
        part: Which of its products; empty where there is one.
        output: Float tensor, with the bias if there is one.

    Raises:
        ValueError: naming the layer, in a graph for LiteRT, of a dtype other than float32.
    """
    form = _LITERT.get()
    if form is None:
        return output
    product = Product(layer, part, output)
    dtype = keras.backend.standardize_dtype(output.dtype)
    if dtype != "float32":
        raise ValueError(
            f"LiteRT's converter makes INT8 of float32 products; that of {product.name!r} is "
            f"{dtype}. Load the weights into a model of the dtype policy float32."
        )
    return form.output(product)


def activated(layer: Any, output: Any) -> Any:
    """What the activation of a layer makes of the output of its product.

    In a graph for LiteRT the range is that of a ReLU's output, since LiteRT's product has it built
    in; before any other activation.
    """
    activation = layer.activation
    if activation in (None, keras.activations.linear):
        return product_output(layer, "", output)
    if activation in (keras.activations.relu, keras.activations.relu6):
        return product_output(layer, "", activation(output))
    return activation(product_output(layer, "", output))


def written(x: Any, params: QuantParams) -> Any:
    """`x` as its codes stand for it, with the range as constants in the graph."""
    # TensorFlow's, where nothing else is imported of it.
    from keras_int8nmt.ops.fake_quant import fake_quant

    return fake_quant(x, params, narrow=is_for_litert())


def gathered_codes(table: Callable[[], Any], ids: Any) -> Any:
    """Rows of a table that lies in the graph as int8 codes and a scale for each row.

    Args:
        table: Gives it: float `[rows, width]`.
        ids: Integers of any shape.

    Returns:
        float32 `[..., width]`: the values of `fake_quantize_rows`, to the last bit but one.
    """
    from keras_int8nmt.ops.fake_quant import row_codes

    codes, steps = row_codes(lambda: ops.convert_to_tensor(table()))
    ids = ops.cast(ids, "int32")
    rows = ops.cast(ops.take(codes, ids, axis=0), "float32")
    return rows * ops.expand_dims(ops.take(steps, ids, axis=0), -1)
