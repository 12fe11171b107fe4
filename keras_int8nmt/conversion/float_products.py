"""What a converted model still multiplies in float, whoever wrote it, as rows of the report.

Converters tell of the MatMuls that they see: those of Quant layers and of layers with a kernel.
Beside them a model may multiply in `ops.matmul` of its graph, in the `call` of a user's layer, in
blocks of KerasHub, in convolutions and in recurrent layers. All of that is in the TensorFlow graph
of the converted model, which is looked through here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_int8nmt.conversion.graph_products import ATTENTION_OPS, GraphProduct, products_of
from keras_int8nmt.conversion.quant_table import float_since_plain
from keras_int8nmt.conversion.report import ConversionReport, MatMulRow, Multiplications
from keras_int8nmt.layers.inference.frozen_attention import FrozenAttention
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer
from keras_int8nmt.layers.model_state import layers_of
from keras_int8nmt.layers.projections import PROJECTIONS, TENSOR_PRODUCTS
from keras_int8nmt.ops.graphs import are_scopes, current_scope, graph_of

# The layers in which something is called, outermost first; none in the model's own graph.
Layers = tuple[Any, ...]


@dataclass(frozen=True)
class _Placed:
    """A product, the layers that it lies in, and the scopes inside the last one, its name last."""

    product: GraphProduct
    layers: Layers
    scopes: tuple[str, ...]

    @property
    def layer(self) -> Any:
        return self.layers[-1] if self.layers else None

    @property
    def frozen(self) -> bool:
        """Whether a converter has told of it."""
        return any(isinstance(layer, FrozenLayer) for layer in self.layers)

    @property
    def precision(self) -> str:
        layer = self.layer
        if not isinstance(layer, FrozenLayer):
            return self.product.precision
        # Stock operations multiply codes as floats: the layer knows better.
        found = layer.precisions
        if isinstance(layer, FrozenAttention):
            of_tensors = self.product.operation in ("Einsum", *ATTENTION_OPS)
            names = TENSOR_PRODUCTS if of_tensors else (*PROJECTIONS, "attention_output")
            found = {layer.precision[name] for name in names}
        return found.pop() if len(found) == 1 else self.product.precision


def with_float_products(
    report: ConversionReport, model: keras.Model, sample: Any = None
) -> ConversionReport:
    """The report of a converted model with a row for each float product of its graph.

    Rows of layers as a whole give way to those of the products in them. Where the graph can't be
    made, as of a model whose inputs nobody told, the report is left as it is.

    Args:
        report: What converters told.
        model: The converted model.
        sample: Inputs of one batch; without it lengths are those of the model's inputs, and what
            varies is not counted.
    """
    placed = _placed_products(model, sample)
    if placed is None:
        return report
    floats = _rows([p for p in placed if not p.frozen], report.rows)
    frozen = [p for p in placed if p.frozen]
    return replace(
        report,
        rows=_counted(_merged(report.rows, floats), frozen),
        multiplications=_sums(frozen, floats),
    )


def _placed_products(model: keras.Model, sample: Any) -> list[_Placed] | None:
    if keras.config.backend() != "tensorflow":
        return None
    called = [x for x in layers_of(model) if not isinstance(x, keras.layers.InputLayer)]
    if not are_scopes(model.name, [layer.name for layer in called]):
        # Keras would not close the scope that TensorFlow refused, and later layers lie in it.
        return None
    given = sample
    try:
        if sample is None:
            given = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        with _scopes_of_layers(model) as scopes:
            graph_def = graph_of(lambda inputs: model(inputs, training=False), given)
    except Exception:
        # Any code of the user's own may have run; what converters told stays.
        return None
    return [_placed(product, scopes) for product in products_of(graph_def)]


@contextmanager
def _scopes_of_layers(model: keras.Model) -> Iterator[dict[str, Layers]]:
    """Collects in which name scopes the layers of a model of ours are called.

    The names of scopes alone do not tell: Keras opens that of a layer more than once, and
    TensorFlow numbers those of one name, so that `dense` may be called in the scope `dense_1`.
    """
    found: dict[str, Layers] = {}
    stack: list[Any] = []
    watched = [layer for layer in layers_of(model) if layer is not model]

    def telling(layer: Any, call: Any) -> Any:
        def told(*args: Any, **kwargs: Any) -> Any:
            stack.append(layer)
            found[current_scope()] = tuple(stack)
            try:
                return call(*args, **kwargs)
            finally:
                stack.pop()

        return told

    try:
        for layer in watched:
            layer.call = telling(layer, layer.call)
        yield found
    finally:
        for layer in watched:
            if "call" in vars(layer):
                del layer.call


def _placed(product: GraphProduct, scopes: dict[str, Layers]) -> _Placed:
    """Where a product lies, by the innermost layer in whose scope it was made."""
    for name in reversed(product.names):
        parts = name.split("/")
        for length in range(len(parts) - 1, 0, -1):
            layers = scopes.get("/".join(parts[:length]))
            if layers is not None:
                return _Placed(product, layers, tuple(parts[length:]))
    # The first scope is the model's own.
    return _Placed(product, (), tuple(product.names[-1].split("/")[1:]))


def _path(layers: Layers) -> str:
    """The path of the last layer as the rows of converters have it.

    A layer tells its path from the model that it was made in on; one that somebody else's layer
    made late tells its name alone.
    """
    path = ""
    inside_model = True
    for layer in layers:
        own = str(getattr(layer, "path", None) or layer.name)
        told = inside_model or isinstance(layer, FrozenLayer) or own.startswith(f"{path}/")
        path = own if told else f"{path}/{own}"
        inside_model = isinstance(layer, keras.Model)
    return path


def _rows(products: list[_Placed], told: list[MatMulRow]) -> dict[str, MatMulRow]:
    """The rows of float products, by name; those of one name are one row."""
    parts: dict[str, set[str]] = defaultdict(set)
    for placed in products:
        parts[_path(placed.layers)].add(_part(placed))
    rows: dict[str, MatMulRow] = {}
    for placed in products:
        path, count = _path(placed.layers), placed.product.multiplications
        # A layer with a kernel is its product, however often a wrapper calls it, and so is one that
        # multiplies once; what the graph multiplies has no layer.
        alone = path and (len(parts[path]) == 1 or _has_weights(placed.layer))
        name = path if alone else "/".join(filter(None, (path, _part(placed))))
        if name in rows:
            before = rows[name].multiplications
            count = None if count is None or before is None else count + before
        kind = "weights" if _has_weights(placed.layer) else "dynamic"
        reason = _reason(placed, told)
        rows[name] = MatMulRow(name, kind, "float32", reason, multiplications=count)
    return rows


def _part(placed: _Placed) -> str:
    """Which product of its layer it is: the scopes inside, without TensorFlow's own name of it."""
    scopes = placed.scopes
    return "/".join(scopes[:-1] if len(scopes) > 1 else scopes)


def _has_weights(layer: Any) -> bool:
    return any(hasattr(layer, name) for name in ("kernel", "recurrent_kernel"))


def _reason(placed: _Placed, told: list[MatMulRow]) -> str:
    """What a converter said of the layer or of one around it; else that nobody takes it."""
    paths = {_path(placed.layers[: i + 1]) for i in range(len(placed.layers))}
    for row in told:
        if row.name in paths and row.precision == "float32" and row.reason:
            return row.reason
    # The layer that the user put there: its parts are its own affair.
    outer = next((x for x in placed.layers if not isinstance(x, keras.Model)), None)
    if outer is None:
        return f"{placed.product.operation} in the graph has no INT8 form"
    return float_since_plain(outer)


def _merged(told: list[MatMulRow], found: dict[str, MatMulRow]) -> list[MatMulRow]:
    """The rows of converters, those of whole layers replaced by what was found in them."""
    rows: list[MatMulRow] = []
    left = dict(found)
    for row in told:
        inside = [n for n in left if n == row.name or n.startswith(f"{row.name}/")]
        if row.precision == "float32" and inside:
            rows.extend(left.pop(name) for name in inside)
        else:
            rows.append(row)
    return [*rows, *left.values()]


def _counted(rows: list[MatMulRow], frozen: list[_Placed]) -> list[MatMulRow]:
    """`rows` with the multiplications of frozen layers that are one MatMul."""
    counts: dict[str, list[int | None]] = defaultdict(list)
    for placed in frozen:
        # A frozen layer may hold another.
        outer = next(i for i, x in enumerate(placed.layers) if isinstance(x, FrozenLayer))
        counts[_path(placed.layers[: outer + 1])].append(placed.product.multiplications)
    return [
        replace(row, multiplications=_sum(counts[row.name])) if row.name in counts else row
        for row in rows
    ]


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _sums(frozen: list[_Placed], floats: dict[str, MatMulRow]) -> Multiplications:
    counts = [(p.precision, p.product.multiplications) for p in frozen]
    counts += [("float32", row.multiplications) for row in floats.values()]
    sums = {"int8": 0, "float32": 0}
    for precision, count in counts:
        sums[precision] += count or 0
    return Multiplications(**sums, uncounted=sum(count is None for _, count in counts))
