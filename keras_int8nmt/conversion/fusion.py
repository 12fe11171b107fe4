"""Which neighbours of a graph exchange INT8 codes, by one table of patterns.

A converted layer quantizes its input by itself, with the scale that calibration found. Where the
layer before it can write just these codes, or several layers would make the same ones of one
tensor, they are made once, and no float tensor lies between. The numbers are those of the layers
alone, to the bit: patterns that would round otherwise are not in the table.

What graphs tell is seen (Functional and Sequential models, nested ones too), and what blocks of
KerasHub do by their code, which a second table knows. A layer whose output goes anywhere else, to
an output of the model, to a reader of floats, to another graph or to code of the user's own, gives
floats as before.
"""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_int8nmt.conversion.exchange import is_plain_graph
from keras_int8nmt.conversion.report import CodeExchange
from keras_int8nmt.conversion.structural_copy import Insertion
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer
from keras_int8nmt.layers.inference.frozen_layer_norm import FrozenLayerNorm
from keras_int8nmt.layers.inference.quantizer import Quantizer
from keras_int8nmt.layers.model_state import layers_of, parts_of
from keras_int8nmt.quantization import QuantParams

# Frozen layers by the identities of the layers whose places they take.
Made = Mapping[int, FrozenLayer]


def _always(layer: Any) -> bool:
    return True


def _is_plain_relu(layer: Any) -> bool:
    return layer.max_value is None and not layer.negative_slope and not layer.threshold


# What between a writer and its readers hands codes on as if it had got floats, and when. Dropout
# does so unless `training=True`, where writers give floats.
_UNCHANGED: dict[type, Callable[[Any], bool]] = {
    keras.layers.Activation: lambda layer: layer.activation is keras.activations.linear,
    keras.layers.Dropout: _always,
    keras.layers.SpatialDropout1D: _always,
    keras.layers.SpatialDropout2D: _always,
    keras.layers.Flatten: _always,
    keras.layers.Identity: _always,
    keras.layers.Permute: _always,
    keras.layers.RepeatVector: _always,
    keras.layers.Reshape: _always,
}
# Likewise, of codes whose zero point is 0: the largest of a code and 0.
_RECTIFIED: dict[type, Callable[[Any], bool]] = {
    keras.layers.Activation: lambda layer: layer.activation is keras.activations.relu,
    keras.layers.ReLU: _is_plain_relu,
}


@dataclass(frozen=True)
class _InBlock:
    """Attributes of a block: a layer whose output its code gives to another one alone, and when.

    Between them there may be dropout.
    """

    writer: str
    reader: str
    when: Callable[[Any], bool] = _always


_TRANSFORMER_BLOCK = (
    _InBlock("_feedforward_intermediate_dense", "_feedforward_output_dense"),
    _InBlock(
        "_feedforward_layer_norm",
        "_feedforward_intermediate_dense",
        lambda block: block.normalize_first,
    ),
)
# By package and class, which must be just this one: a subclass may have other code.
_BLOCKS: dict[tuple[str, str], tuple[_InBlock, ...]] = {
    ("keras_hub", "TransformerEncoder"): _TRANSFORMER_BLOCK,
    ("keras_hub", "TransformerDecoder"): _TRANSFORMER_BLOCK,
    ("keras_hub", "T5TransformerLayer"): (
        _InBlock(
            "input_projector", "output_projector", lambda block: not block.use_gated_activation
        ),
    ),
}


@dataclass(frozen=True)
class _Read:
    """A use of a tensor.

    Attributes:
        node: The call that reads it; None where it is an output of a model.
        params: The codes that are made of it; None where it is read as floats.
        between: The layers that it goes through before.
    """

    node: Any
    params: QuantParams | None
    between: tuple[Any, ...] = ()

    @property
    def rectified(self) -> bool:
        """Whether a ReLU lies between."""
        return any(_is_one_of(_RECTIFIED, layer) for layer in self.between)


@dataclass
class Fusion:
    """What is changed so that codes are exchanged.

    Attributes:
        written: Frozen layers that write codes, by the identities of the layers of the model.
        inserted: Layers between layers of the model.
        types: dtypes of symbolic tensors that are codes now, by identity.
        exchanges: For the report.
    """

    written: dict[int, FrozenLayer] = field(default_factory=dict)
    inserted: list[Insertion] = field(default_factory=list)
    types: dict[int, str] = field(default_factory=dict)
    exchanges: list[CodeExchange] = field(default_factory=list)


@dataclass(frozen=True)
class _Exchanged:
    """Codes that are made once, what makes them (as the report says it), and who reads them."""

    pattern: str
    params: QuantParams
    reads: Sequence[_Read]


class _Graphs:
    """All graphs of a model as one: who writes each tensor, and who reads it."""

    def __init__(self, model: keras.Model, made: Made) -> None:
        self.made = dict(made)
        self.tensors: list[Any] = []
        self._readers: dict[int, list[Any]] = defaultdict(list)
        self._calls: dict[int, int] = defaultdict(int)
        self._outputs: set[int] = set()
        # Layers that code of the user's own holds, which may call them, too.
        self._held: set[int] = set()
        self._names: set[str] = set()
        nodes: set[int] = set()
        for layer in layers_of(model):
            self._names.add(layer.name)
            if _computes_its_graph(layer):
                self._outputs.update(id(x) for x in layer.outputs)
                for node in _nodes(layer):
                    if id(node) not in nodes:
                        nodes.add(id(node))
                        self._add(node)
            if not is_plain_graph(layer):
                self._held.update(id(part) for part in parts_of(layer))

    def _add(self, node: Any) -> None:
        self.tensors.extend(node.outputs)
        self._calls[id(node.operation)] += 1
        for tensor in {id(x): x for x in node.input_tensors}.values():
            self._readers[id(tensor)].append(node)

    def new_name(self, wanted: str) -> str:
        """`wanted`, with a number behind it where a layer of the model has that name."""
        name, number = wanted, 0
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def is_called(self, layer: Any) -> bool:
        """Whether a graph calls a layer by itself."""
        return self._calls[id(layer)] > 0

    def writer(self, tensor: Any) -> tuple[Any, FrozenLayer] | None:
        """The layer that gives `tensor` and its frozen form, where nobody else calls it."""
        layer = tensor._keras_history.operation
        frozen = self.made.get(id(layer))
        if frozen is None or not _is_float32(frozen, tensor):
            return None
        alone = self._calls[id(layer)] == 1 and id(layer) not in self._held
        return (layer, frozen) if alone else None

    def reads(self, tensor: Any) -> list[_Read]:
        """Who reads a tensor, and how."""
        found = [_Read(node, self._codes(node, tensor)) for node in self._readers[id(tensor)]]
        return [*found, _Read(None, None)] if id(tensor) in self._outputs else found

    def far_reads(self, tensor: Any, between: tuple[Any, ...] = ()) -> Iterator[_Read]:
        """Likewise, behind the layers that hand codes on unchanged."""
        for read in self.reads(tensor):
            layer = None if read.node is None else read.node.operation
            if _is_one_of(_UNCHANGED, layer) or _is_one_of(_RECTIFIED, layer):
                yield from self.far_reads(read.node.outputs[0], (*between, layer))
            else:
                yield _Read(read.node, read.params, between)

    def passed(self, tensor: Any) -> Iterator[Any]:
        """`tensor`, and what layers make of it that hand codes on."""
        yield tensor
        for read in self.reads(tensor):
            layer = None if read.node is None else read.node.operation
            if _is_one_of(_UNCHANGED, layer) or _is_one_of(_RECTIFIED, layer):
                yield from self.passed(read.node.outputs[0])

    def _codes(self, node: Any, tensor: Any) -> QuantParams | None:
        """The codes that a call makes of `tensor`; None where it needs floats."""
        frozen = self.made.get(id(node.operation))
        if frozen is None or not _is_float32(frozen, tensor):
            return None
        called = inspect.signature(frozen.call).bind(*node.arguments.args, **node.arguments.kwargs)
        given = {name: value for name, value in called.arguments.items() if value is not None}
        places = [name for name, value in given.items() if value is tensor]
        everywhere = sum(x is tensor for x in keras.tree.flatten(dict(given)))
        inputs = frozen.code_inputs(set(given))
        found = {inputs.get(name) for name in places}
        return found.pop() if len(found) == 1 and len(places) == everywhere else None


def _written_by(frozen: FrozenLayer) -> str:
    """The pattern's name where a layer writes codes by itself."""
    return f"written by the {'norm' if isinstance(frozen, FrozenLayerNorm) else 'product'}"


def _write_codes(graphs: _Graphs, tensor: Any, fusion: Fusion) -> list[_Exchanged]:
    """A product's epilogue, or a norm, writes the codes that all readers of it make."""
    writer = graphs.writer(tensor)
    reads = list(graphs.far_reads(tensor)) if writer else []
    asked = {read.params for read in reads}
    params = asked.pop() if len(asked) == 1 else None
    if writer is None or params is None:
        return []
    if params.zero_point and any(read.rectified for read in reads):
        return []
    layer, frozen = writer
    written = frozen.writing(params)
    if written is None:
        return []
    graphs.made[id(layer)] = fusion.written[id(layer)] = written
    fusion.types.update((id(x), params.dtype) for x in graphs.passed(tensor))
    return [_Exchanged(_written_by(frozen), params, reads)]


def _write_in_blocks(
    graphs: _Graphs, model: keras.Model, fusion: Fusion
) -> Iterator[tuple[str, Any, Any, QuantParams]]:
    """In known blocks layers write codes for the next one: the pattern, both layers, the codes."""
    layers = list(layers_of(model))
    holders = Counter(part for layer in layers for part in {id(part) for part in parts_of(layer)})
    for block in layers:
        kind = type(block).__module__.partition(".")[0], type(block).__name__
        for chain in _BLOCKS.get(kind, ()):
            old, reading = getattr(block, chain.writer), getattr(block, chain.reader)
            writer, reader = (graphs.made.get(id(layer)) for layer in (old, reading))
            # Nobody but the block calls it.
            alone = holders[id(old)] == 1 and not graphs.is_called(old)
            if writer is None or reader is None or not alone or not chain.when(block):
                continue
            asked = set(reader.code_inputs({"inputs"}).values())
            if len(asked) != 1 or {writer.float_type, reader.float_type} != {"float32"}:
                continue
            params = asked.pop()
            written = writer.writing(params)
            if written is not None:
                graphs.made[id(old)] = fusion.written[id(old)] = written
                yield _written_by(writer), old, reading, params


def _quantize_once(graphs: _Graphs, tensor: Any, fusion: Fusion) -> list[_Exchanged]:
    """One quantization of a tensor for all calls that read it by the same scale.

    The tensor may come of anything: a residual sum, an embedding with positions, an input.
    """
    by_params: dict[QuantParams, list[_Read]] = defaultdict(list)
    for read in graphs.reads(tensor):
        if read.params is not None:
            by_params[read.params].append(read)
    several = [
        _Exchanged("quantized once", params, reads)
        for params, reads in by_params.items()
        if len(reads) > 1
    ]
    for one in several:
        name = graphs.new_name(f"{tensor._keras_history.operation.name}_codes")
        layer = Quantizer(output_params=one.params, name=name)
        fusion.inserted.append(Insertion(tensor, layer, tuple(read.node for read in one.reads)))
    return several


# Tried on each tensor from the first on, until one applies. A pattern joins here; it must give the
# numbers of the layers alone.
_PATTERNS = (_write_codes, _quantize_once)


def fuse(model: keras.Model, made: Made, paths: Mapping[int, str]) -> Fusion:
    """What patterns change in the conversion of a model.

    Args:
        model: The calibrated model. It is only read.
        made: Frozen layers by the identities of the layers of `model` whose places they take.
        paths: Names in the report by identities of layers.
    """
    graphs = _Graphs(model, made)
    fusion = Fusion()

    def name(layer: Any) -> str:
        return paths.get(id(layer)) or getattr(layer, "path", None) or str(layer.name)

    for pattern_name, writer, reader, params in _write_in_blocks(graphs, model, fusion):
        exchanged = CodeExchange(pattern_name, name(writer), (name(reader),), params.dtype)
        fusion.exchanges.append(exchanged)
    for tensor in graphs.tensors:
        for pattern in _PATTERNS:
            found = pattern(graphs, tensor, fusion)
            for one in found:
                fusion.exchanges.append(
                    CodeExchange(
                        one.pattern,
                        name(tensor._keras_history.operation),
                        tuple(name(read.node.operation) for read in one.reads),
                        one.params.dtype,
                    )
                )
            if found:
                break
    return fusion


def _nodes(graph: Any) -> Iterator[Any]:
    """The calls of a Functional model, those first whose outputs others read."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from graph._nodes_by_depth[depth]


def _computes_its_graph(layer: Any) -> bool:
    """Whether a call of `layer` runs its graph and nothing else."""
    functional = isinstance(layer, keras.Function) and isinstance(layer, keras.Model)
    return functional and type(layer).call.__module__.startswith("keras.")


def _is_one_of(table: Mapping[type, Callable[[Any], bool]], layer: Any) -> bool:
    """Whether a row of a table holds for `layer`, and it changes no dtype and counts no loss."""
    test = table.get(type(layer))
    if test is None or not test(layer):
        return False
    return layer.compute_dtype == "float32" and layer.activity_regularizer is None


def _is_float32(frozen: FrozenLayer, tensor: Any) -> bool:
    """Whether a layer of another dtype policy has no part in it, and the tensor is a plain one."""
    plain = tensor.dtype == "float32" and not (tensor.sparse or tensor.ragged)
    return frozen.float_type == "float32" and plain
