"""Models of any kind: each Quant layer, wherever it is, is exchanged for its frozen form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_int8nmt.conversion.exchange import Pair, exchange, is_graph, unique_paths
from keras_int8nmt.conversion.fusion import Fusion, fuse
from keras_int8nmt.conversion.layers import frozen_norm, report_row
from keras_int8nmt.conversion.policy import Assignment, ListedMatMul
from keras_int8nmt.conversion.quant_table import float_since_plain
from keras_int8nmt.conversion.report import CodeExchange, MatMulRow
from keras_int8nmt.conversion.table import converter_of, float_reasons
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer
from keras_int8nmt.layers.matmuls import MatMul
from keras_int8nmt.layers.model_state import layers_of, observers, parts_of
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.layers.quant_einsum_dense import QuantEinsumDense
from keras_int8nmt.layers.quant_layer import QuantLayer


@dataclass(frozen=True)
class _Unit:
    """A layer that is converted as one, or that stays float as one.

    Attributes:
        layer: The layer.
        path: Its path in the report, with a number behind it where the model has the path twice.
        sparse: Whether its input comes out of a ReLU.
        float_reason: Why it stays float; empty where it is converted.
    """

    layer: Any
    path: str
    sparse: bool
    float_reason: str

    def matmuls(self) -> list[MatMul]:
        """Its MatMuls by their names in the report; none of a layer that stays float."""
        if self.float_reason:
            return []
        return [replace(matmul, path=self.path) for matmul in self.layer.matmuls()]

    def listed(self) -> list[ListedMatMul]:
        """Its MatMuls as policies see them."""
        if self.float_reason:
            return [ListedMatMul(self.path, float_reason=self.float_reason)]
        return [
            ListedMatMul(m.name, m.kind, sparse=self.sparse and m.of_input) for m in self.matmuls()
        ]

    def rows(self, assignment: Assignment) -> list[MatMulRow]:
        """Its rows in the report."""
        if self.float_reason:
            return [MatMulRow(self.path, "weights", "float32", self.float_reason)]
        return [report_row(matmul, assignment) for matmul in self.matmuls()]

    def converted(self, assignment: Assignment) -> keras.layers.Layer:
        """The frozen layer."""
        converter = converter_of(self.layer)
        assert converter is not None
        # A converter asks by the layer's own path, which another layer may have, too.
        own = {
            matmul.name: assignment[unique.name]
            for matmul, unique in zip(self.layer.matmuls(), self.matmuls(), strict=True)
        }
        made = converter(self.layer, Assignment({**assignment.choices, **own}, assignment.options))
        if made.path is None:
            # Frozen layers are never built, and errors name them by their path.
            made._path = self.path
        return made


def graph_matmuls(model: keras.Model) -> list[ListedMatMul]:
    """Every MatMul of a model, those included that can only stay float."""
    return [matmul for unit in _units(model) for matmul in unit.listed()]


def convert_graph(
    model: keras.Model, assignment: Assignment, fused: bool = True
) -> tuple[keras.Model, list[MatMulRow], list[CodeExchange]]:
    """The converted model, the report's rows, and who exchanges codes.

    The calibrated model is only read. `fused`: whether neighbours exchange codes.
    """
    units = _units(model)
    pairs: list[Pair] = [
        (unit.layer, unit.converted(assignment)) for unit in units if not unit.float_reason
    ]
    pairs.extend(_norms(model))
    fusion = Fusion()
    if fused:
        made = {id(old): new for old, new in pairs if isinstance(new, FrozenLayer)}
        fusion = fuse(model, made, {id(unit.layer): unit.path for unit in units})
        pairs = [(old, fusion.written.get(id(old), new)) for old, new in pairs]
    converted = exchange(model, pairs, fusion.inserted, fusion.types)
    rows = [row for unit in units for row in unit.rows(assignment)]
    return converted, rows, fusion.exchanges


def _norms(model: keras.Model) -> Iterator[Pair]:
    """The plain norms of a model, and their forms in one pass."""
    for layer in layers_of(model):
        frozen = frozen_norm(layer)
        if frozen is not None:
            # Never built, and errors name it by its path.
            frozen._path = layer.path
            yield layer, frozen


def graph_products(model: keras.Model) -> list[MatMul]:
    """What `convert_graph` can make INT8, for measuring it."""
    return [matmul for unit in _units(model) for matmul in unit.matmuls()]


def _units(model: keras.Model) -> list[_Unit]:
    found = list(_layers_and_reasons(model, set()))
    sparse = _after_relu(model)
    paths = unique_paths([layer for layer, _ in found])
    return [
        _Unit(layer, path, id(layer) in sparse, reason)
        for (layer, reason), path in zip(found, paths, strict=True)
    ]


def _layers_and_reasons(layer: Any, seen: set[int]) -> Iterator[tuple[Any, str]]:
    """The layers that convert or stay float as one, and why they stay float."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if converter_of(layer) is not None:
        # One without MatMuls, such as an embedding, stands in no report.
        yield layer, ""
        return
    if isinstance(layer, QuantLayer) or not (is_graph(layer) or _holds_quant_layers(layer)):
        reason = _float_reason(layer)
        if reason:
            yield layer, reason
        # Nothing in it is looked at again where somebody else holds it, too.
        seen.update(id(part) for part in layers_of(layer))
        return
    parts = parts_of(layer)
    kernel = getattr(layer, "kernel", None)
    # A wrapper may hold the kernel of the layer inside it, which answers for itself.
    if kernel is not None and not any(kernel is v for part in parts for v in part.variables):
        yield layer, float_since_plain(layer)
    elif _is_own_attention(layer):
        yield layer, f"QK^T and AV are {type(layer).__name__}'s own code, in float"
    for part in parts:
        yield from _layers_and_reasons(part, seen)


def _is_own_attention(layer: keras.layers.Layer) -> bool:
    """Whether a layer multiplies projections by code of its own, as attentions of users do.

    Nobody can know what a `call` computes: it is one that is called so and holds its projections.
    """
    dense = {id(p) for p in parts_of(layer) if isinstance(p, (QuantDense, QuantEinsumDense))}
    return "Attention" in type(layer).__name__ and len(dense) >= 3


def _holds_quant_layers(layer: keras.layers.Layer) -> bool:
    return any(isinstance(part, QuantLayer) for part in layers_of(layer))


def _float_reason(layer: keras.layers.Layer) -> str:
    """Why a layer that multiplies stays float; empty where none is known to multiply in it."""
    reasons = float_reasons(layer)
    if reasons:
        return "; ".join(reasons)
    multiplies = isinstance(layer, QuantLayer) and bool(layer.matmuls())
    kernels = any(hasattr(part, "kernel") for part in layers_of(layer))
    if not (multiplies or kernels or observers(layer)):
        return ""
    return float_since_plain(layer)


def _after_relu(model: keras.Model) -> set[int]:
    """The identities of the layers whose input comes straight out of a ReLU in a graph."""
    found: set[int] = set()
    for graph in layers_of(model):
        if not is_graph(graph):
            continue
        rectified = {
            id(_tensor(layer, "output"))
            for layer in graph.layers
            if isinstance(layer, keras.layers.ReLU)
            or getattr(layer, "activation", None) is keras.activations.relu
        }
        found.update(
            id(layer) for layer in graph.layers if id(_tensor(layer, "input")) in rectified
        )
    return found


def _tensor(layer: keras.layers.Layer, name: str) -> Any:
    """Symbolic input or output of a layer; one of its own where it is in no graph."""
    try:
        return getattr(layer, name)
    except (AttributeError, ValueError):
        return layer
