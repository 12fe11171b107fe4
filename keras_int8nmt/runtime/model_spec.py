"""A Transformer as the native decoder reads it: whole numbers, floats and tensors in a fixed order.

`describe` writes what `cc/decoder/model.cc` reads; a mark before each part shows where the two
would disagree. Nothing is decided here: which product is INT8 or float32, and how each tensor is
quantized, is read from the model's layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt import native
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.quantization import QuantParams

_VERSION = 1
_MODEL, _LINEAR, _NORM, _ATTENTION, _LAYER, _EMBEDDING, _END = range(9000, 9007)
# In the place of _NORM and _ATTENTION; other models keep the description that they had.
_INTEGER_NORM, _INTEGER_SOFTMAX = 9007, 9008
_TYPES = {"float32": 0, "int8": 1, "uint8": 2}
_ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2, "gelu_tanh": 3, "swish": 4}


class NotDescribableError(KerasInt8nmtError, ValueError):
    """The native decoder can't run this model; the message says why."""


@dataclass(frozen=True)
class Weights:
    """The weights of a product in two forms, each made when it is asked for.

    Attributes:
        packed: Gives them as the native library packs them for this CPU, uint8.
        plain: Gives them as int8 or float32 `[k, n]`.
    """

    packed: Callable[[], Any]
    plain: Callable[[], Any]


@dataclass(frozen=True)
class Product:
    """One weight MatMul: `act(x @ w + bias)`.

    Attributes:
        shape: `(k, n)`.
        weights: The weights.
        scales: float32 `[n]` of an INT8 product; None for float32.
        bias: float32 `[n]`.
        activation: An activation of the epilogue.
        input: How the input of an INT8 product is quantized; None for float32, and where `dynamic`.
        output: How the result is written; None for float32.
        output_scale: What the result is multiplied by before it is rounded, where that is not the
            scale of `output`: 1 where it is folded into `scales` and `bias`.
        dynamic: Whether it is INT8 and gives each row of its float32 input a scale of its own.
    """

    shape: tuple[int, int]
    weights: Weights
    scales: Any
    bias: Any
    activation: str = "none"
    input: QuantParams | None = None
    output: QuantParams | None = None
    output_scale: float | None = None
    dynamic: bool = False


@dataclass(frozen=True)
class Norm:
    """LayerNorm and the residual sum before it; `carry` and `arithmetic` as in `ResidualNorm`."""

    gamma: Any
    beta: Any
    epsilon: float
    carry: str
    output: QuantParams | None = None
    arithmetic: str = "float"


@dataclass(frozen=True)
class Projected:
    """One product that gives some of query, key and value.

    Attributes:
        product: The product.
        columns: First column of each of "query", "key" and "value" that it gives.
        of_memory: Whether it reads the encoder's output.
    """

    product: Product
    columns: dict[str, int]
    of_memory: bool = False


@dataclass(frozen=True)
class Attention:
    """Attention: `scale` multiplies the scores, `context_scale` the weighted sum of values."""

    heads: int
    head_dim: int
    value_dim: int
    key_type: str
    value_type: str
    scale: float
    context: QuantParams | None
    context_scale: float
    projections: list[Projected]
    output: Product
    softmax: str = "float"


@dataclass(frozen=True)
class Block:
    """One layer of a stack; `cross` and its norm are there in a decoder."""

    attention: Attention
    attention_norm: Norm
    ffn_in: Product
    ffn_out: Product
    ffn_norm: Norm
    cross: Attention | None = None
    cross_norm: Norm | None = None


@dataclass(frozen=True)
class Embedding:
    """A table: int8 with `inv_scales`, or float32 without."""

    table: Any
    inv_scales: Any
    multiplier: float


@dataclass
class Description:
    """A model for the native decoder.

    Attributes:
        ints, floats: Numbers in the order in which they are read.
        tensors: float32, int8 and uint8 tensors of TensorFlow, likewise.
        source_vocabulary_size: Ids of sources are below it.
        plain: Whether weights of products are not packed: to be stored, and packed later.
        weights: Which of `tensors` are weights of products.
    """

    source_vocabulary_size: int
    plain: bool = False
    ints: list[int] = field(default_factory=list)
    floats: list[float] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)

    def model(
        self,
        settings: dict[str, Any],
        positions: Any,
        embeddings: tuple[Embedding, Embedding],
        stacks: tuple[tuple[Norm | QuantParams | None, list[Block]], ...],
        projection: Product,
    ) -> Description:
        """Appends a whole model.

        Args:
            settings: `Transformer.settings`.
            positions: float32 `[max_length, model_dim]`.
            embeddings: Of source and target.
            stacks: Encoder and decoder: what makes the first pair of the embedded tokens (a norm of
                a pre-norm model, the codes of a post-norm one, or None), and the blocks.
            projection: The output projection.
        """
        self._put(_MODEL, _VERSION, settings["model_dim"], settings["max_length"])
        self._put(*(len(blocks) for _, blocks in stacks))
        self._put(settings["pad_id"], settings["eos_id"], settings["start_id"])
        self._put_tensors(positions)
        for embedding in embeddings:
            self._embedding(embedding)
        for entry, blocks in stacks:
            self._put(isinstance(entry, Norm))
            if isinstance(entry, Norm):
                self._norm(entry)
            else:
                self._output(entry)
            for block in blocks:
                self._block(block)
        self._product(projection)
        self._put(_END)
        return self

    def _put(self, *ints: int) -> None:
        self.ints.extend(int(i) for i in ints)

    def _put_tensors(self, *tensors: Any) -> None:
        self.tensors.extend(tf.convert_to_tensor(t) for t in tensors)

    def _output(self, params: QuantParams | None, scale: float | None = None) -> None:
        """How values are written: float32, or codes of `params`."""
        self._put(*(_TYPES["float32"], 0) if params is None else (_TYPES[params.dtype], 0))
        if params is not None:
            self.ints[-1] = params.zero_point
        natural = 1.0 if params is None else float(params.scale)
        self.floats.append(natural if scale is None else scale)

    def _embedding(self, embedding: Embedding) -> None:
        int8 = embedding.inv_scales is not None
        self._put(_EMBEDDING, int8, embedding.table.shape[0])
        self.floats.append(embedding.multiplier)
        self._put_tensors(embedding.table, *[embedding.inv_scales] if int8 else [])

    def _product(self, product: Product) -> None:
        int8 = product.scales is not None
        # 0: float32, 1: INT8, 2: INT8 with dynamic scales.
        self._put(_LINEAR, int8 + product.dynamic, *product.shape, _ACTIVATIONS[product.activation])
        self._output(product.input)
        self._output(product.output, product.output_scale)
        self.weights.append(len(self.tensors))
        weights = product.weights.plain() if self.plain else product.weights.packed()
        scales = [product.scales] if int8 else []
        self._put_tensors(weights, *scales, product.bias)

    def _norm(self, norm: Norm) -> None:
        mark = _INTEGER_NORM if norm.arithmetic == "integer" else _NORM
        self._put(mark, norm.carry == "sum")
        self.floats.append(norm.epsilon)
        self._output(norm.output)
        self._put_tensors(norm.gamma, norm.beta)

    def _attention(self, attention: Attention) -> None:
        mark = _INTEGER_SOFTMAX if attention.softmax == "integer" else _ATTENTION
        self._put(mark, attention.heads, attention.head_dim, attention.value_dim)
        self._put(_TYPES[attention.key_type], _TYPES[attention.value_type])
        self.floats.append(attention.scale)
        self._output(attention.context, attention.context_scale)
        self._put(len(attention.projections))
        for projected in attention.projections:
            self._put(projected.of_memory)
            self._put(*(projected.columns.get(name, -1) for name in ("query", "key", "value")))
            self._product(projected.product)
        self._product(attention.output)

    def _block(self, block: Block) -> None:
        self._put(_LAYER)
        self._attention(block.attention)
        self._norm(block.attention_norm)
        if block.cross is not None and block.cross_norm is not None:
            self._attention(block.cross)
            self._norm(block.cross_norm)
        self._product(block.ffn_in)
        self._product(block.ffn_out)
        self._norm(block.ffn_norm)


def float_product(
    shape: Any, kernel: Callable[[], Any], bias: Any, activation: str = "none", **output: Any
) -> Product:
    """The product of the float32 weights that `kernel` gives, of shape `(k, n)`."""
    k, n = shape

    def plain() -> Any:
        return tf.cast(kernel(), tf.float32)

    def packed() -> Any:
        return native.pack_float(np.asarray(memoryview(plain())))

    bias = tf.zeros((n,)) if bias is None else tf.cast(bias, tf.float32)
    return Product((k, n), Weights(packed, plain), None, bias, activation, None, **output)
