"""Copies of models made object by object: no configuration is read and no `__init__` runs.

A configuration need not tell all that a layer is, and cannot name layers that were put in by
hand. So a copy has new layers of the same classes, with new variables of the same values, names
and paths, in containers of the same kinds; what computes is the user's own code. Everything that
holds no state of the model (policies, initializers, functions, lookup tables, arrays) is shared
with the original, which is only read.

Keras gives no public way to make a layer without `__init__`; the private names that it takes are
in this file alone.
"""

from __future__ import annotations

import collections
import copy
import functools
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

# Nodes, containers that track and their books have no public names; the same from Keras 3.12 on,
# but for ordered dicts, which came later.
from keras.src.ops.node import Node
from keras.src.utils import tracking

from keras_int8nmt.layers.model_state import layers_of

# Never copied and never looked into.
_SHARED = (
    types.NoneType,
    str,
    bytes,
    int,
    float,
    complex,
    type,
    types.ModuleType,
    np.ndarray,
    np.generic,
)
_TRACKED = tuple(
    getattr(tracking, name)
    for name in ("TrackedList", "TrackedDict", "TrackedOrderedDict", "TrackedSet")
    if hasattr(tracking, name)
)
# Packages whose objects hold no layers of a user's model, but for those that have a rule.
_FOREIGN = {"keras", "tensorflow", "jax", "jaxlib", "numpy", "torch"}
# Bound to the layer that they were made for, or about the graphs and calls that it was in.
_NEW_FOR_EACH = {
    "build",
    "quantize",
    "_inbound_nodes",
    "_outbound_nodes",
    "_losses",
    "_loss_ids",
    "_losses_override",
}
# What `compile` and `fit` leave in a model and a new model does not have.
_OF_TRAINING = {
    "optimizer",
    "stop_training",
    "stop_evaluating",
    "stop_predicting",
    "_compile_config",
    "_compiled_trainable_state",
    "_distributed_dataset",
    "_eval_epoch_iterator",
    "_jax_state",
}
# TensorFlow's books of what a checkpoint holds. Layers may have names that begin alike.
_OF_CHECKPOINTS = {
    "_self_name_based_restores",
    "_self_saveable_object_factories",
    "_self_unconditional_checkpoint_dependencies",
    "_self_unconditional_deferred_dependencies",
    "_self_unconditional_dependency_names",
    "_self_update_uid",
}
# Of the attributes of training, what a new model takes over.
_NOT_OF_TRAINING = {"_distribute_strategy", "_compute_loss_has_training_arg"}


@dataclass(frozen=True)
class Insertion:
    """A new layer between a tensor of a graph and some that read it.

    Attributes:
        tensor: A symbolic tensor of the graph.
        layer: What is called with it in the copy, once.
        nodes: The nodes of the graph that read the layer's output there, and `tensor` no more.
    """

    tensor: Any
    layer: keras.layers.Layer
    nodes: Sequence[Any]


class StructuralCopy:
    """One copy of a model, with some of its layers exchanged for others.

    Args:
        model: A layer or a model. It is not changed.
        exchanged: Pairs of a layer in it and the layer that stands in its place in the copy.
            Where both have the same weights, whatever else holds a variable of the former holds
            that of the latter.
        inserted: What graphs of the copy have beside those of the model.
        types: By the identities of symbolic tensors: their dtype in the copy, where another layer
            gives another.
    """

    def __init__(
        self,
        model: keras.layers.Layer,
        exchanged: Iterable[tuple[keras.layers.Layer, keras.layers.Layer]] = (),
        inserted: Iterable[Insertion] = (),
        types: Mapping[int, str] | None = None,
    ) -> None:
        self._model = model
        # Copies by the identity of the originals, which are kept so that no other object gets it.
        self._made: dict[int, tuple[Any, Any]] = {}
        self._nodes: set[int] = set()
        self._inserted = {(id(node), id(one.tensor)): one for one in inserted for node in one.nodes}
        self._types = types or {}
        self._inside = _belongings(model)
        for old, new in exchanged:
            self._note(old, new)
            if [w.shape for w in old.weights] == [w.shape for w in new.weights]:
                for variable, twin in zip(old.weights, new.weights, strict=True):
                    self._note(variable, twin)

    def made(self) -> Any:
        """The copy; a model is not compiled."""
        return self._copy(self._model)

    def _note(self, value: Any, new: Any) -> Any:
        self._made[id(value)] = (value, new)
        return new

    def _copy(self, value: Any) -> Any:
        """The copy of what a layer holds in an attribute; `value` itself where it has no state."""
        if isinstance(value, _SHARED):
            return value
        known = self._made.get(id(value))
        if known is not None:
            return known[1]
        if isinstance(value, keras.KerasTensor):
            # Of a graph that is no part of the model.
            return value
        for kind, rule in _RULES:
            if isinstance(value, kind):
                return rule(self, value)
        return self._object(value)

    # ---- what Keras tracks ----

    def _variable(self, variable: Any) -> Any:
        new = self._note(variable, object.__new__(type(variable)))
        kept = {name: held for name, held in vars(variable).items() if name not in _OF_CHECKPOINTS}
        vars(new).update(kept)
        # A buffer of its own: training may write or give away that of the original.
        new._value = copy.deepcopy(variable._value)
        return new

    def _state(self, value: Any) -> Any:
        """Metrics and seed generators."""
        new = self._note(value, object.__new__(type(value)))
        self._fill(value, new)
        return new

    def _operation(self, operation: Any) -> Any:
        """Layers, models, and the plain operations of a graph."""
        base = keras.layers.Layer if isinstance(operation, keras.layers.Layer) else keras.Operation
        new = self._note(operation, base.__new__(type(operation)))
        for name in ("_inbound_nodes", "_outbound_nodes", "_losses", "_losses_override"):
            vars(new)[name] = []
        vars(new)["_loss_ids"] = set()
        graph = self._graph(operation) if isinstance(operation, keras.Function) else {}
        leave = _NEW_FOR_EACH | set(graph)
        if isinstance(operation, keras.Model):
            untrained = _untrained()
            leave |= set(untrained) | (_OF_TRAINING if operation.compiled else set())
            vars(new).update(untrained)
        self._fill(operation, new, leave)
        vars(new).update(graph)
        if graph and self._inserted:
            for layer in new.layers:
                new._tracker.track(layer)
        if isinstance(operation, keras.layers.InputLayer):
            self._enter(operation, new)
        _track_for_checkpoints(operation, new)
        return new

    def _fill(self, old: Any, new: Any, leave: Iterable[str] = ()) -> None:
        """Gives `new` the attributes of `old`, past any `__setattr__`."""
        for name, value in vars(old).items():
            if name not in leave and name not in _OF_CHECKPOINTS:
                vars(new)[name] = self._copy(value)

    def _tracker(self, tracker: Any) -> Any:
        stores: dict[str, Any] = {
            name: (test, self._note(held, [])) for name, (test, held) in tracker.config.items()
        }
        new = self._note(tracker, tracking.Tracker(stores, exclusions=tracker.exclusions))
        for name, (_, held) in tracker.config.items():
            copies = [self._copy(one) for one in held]
            stores[name][1].extend(copies)
            new.stored_ids[name] = {id(one) for one in copies}
        new.locked, new._lock_violation_msg = tracker.locked, tracker._lock_violation_msg
        return new

    # ---- graphs ----

    def _graph(self, model: Any) -> dict[str, Any]:
        """The attributes of a Functional model that are its graph, of new nodes and tensors."""
        for operation in model.operations:
            self._copy(operation)
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input or id(node) in self._nodes:
                    # Made with its input layer, or with another model of the same graph.
                    continue
                self._nodes.add(id(node))
                tensors = {id(x): self._read(node, x) for x in node.input_tensors}
                arguments, keywords = node.arguments.fill_in(tensors)
                Node(
                    operation=self._copy(node.operation),
                    call_args=arguments,
                    call_kwargs=keywords,
                    outputs=[self._tensor(x) for x in node.outputs],
                )
        structure = keras.tree.map_structure
        inputs = structure(self._tensor, model._inputs_struct)
        outputs = structure(self._tensor, model._outputs_struct)
        graph = vars(keras.Function(inputs, outputs, name=model.name))
        apart = dict(vars(keras.Operation(name=model.name)))
        apart["_self_setattr_tracking"] = True
        return {name: value for name, value in graph.items() if name not in apart}

    def _read(self, node: Any, tensor: Any) -> Any:
        """What the copy of `node` reads in place of `tensor`."""
        one = self._inserted.get((id(node), id(tensor)))
        if one is None:
            return self._tensor(tensor)
        known = self._made.get(id(one))
        if known is None:
            read = self._tensor(tensor)
            output = one.layer.compute_output_spec(read)
            Node(operation=one.layer, call_args=(read,), call_kwargs={}, outputs=output)
            self._note(one, output)
            return output
        return known[1]

    def _tensor(self, tensor: Any) -> Any:
        """The symbolic tensor that stands for `tensor` in the new graph; None for None."""
        if tensor is None:
            return None
        known = self._made.get(id(tensor))
        if known is not None:
            return known[1]
        new = self._note(tensor, object.__new__(type(tensor)))
        kept = {k: v for k, v in vars(tensor).items() if k not in ("_keras_history", "_keras_mask")}
        vars(new).update(kept)
        if id(tensor) in self._types:
            new._dtype = self._types[id(tensor)]
        mask = getattr(tensor, "_keras_mask", None)
        if mask is not None:
            new._keras_mask = self._tensor(mask)
        return new

    def _enter(self, old: Any, new: Any) -> None:
        """Makes the node of a new input layer, as its `__init__` does."""
        tensor = self._tensor(old.output)
        vars(new)["_input_tensor"] = tensor
        Node(operation=new, call_args=(), call_kwargs={}, outputs=tensor)

    # ---- containers ----

    def _tracked(self, value: Any) -> Any:
        """Containers that tell a layer what is put into them."""
        new = self._note(value, type(value)())
        self._put_in(new, value)
        new.tracker = self._copy(value.tracker)
        return new

    def _container(self, value: Any) -> Any:
        if type(value).__module__.partition(".")[0] in _FOREIGN:
            # Wrappers in which TensorFlow puts containers that it tracks.
            new: Any = {} if isinstance(value, dict) else []
        elif type(value) in (list, dict, set, collections.OrderedDict):
            new = type(value)()
        else:
            new = copy.copy(value)
            new.clear()
        self._note(value, new)
        self._put_in(new, value)
        return new

    def _put_in(self, new: Any, value: Any) -> None:
        if isinstance(value, dict):
            for key, held in value.items():
                new[self._copy(key)] = self._copy(held)
        elif isinstance(value, set):
            for held in value:
                new.add(self._copy(held))
        else:
            for held in value:
                new.append(self._copy(held))

    def _tuple(self, value: Any) -> Any:
        held = list(value)
        copies = [self._copy(one) for one in held]
        if all(new is old for new, old in zip(copies, held, strict=True)):
            return value
        if hasattr(value, "_make"):
            return self._note(value, value._make(copies))
        return self._note(value, type(value)(copies) if type(value) is frozenset else tuple(copies))

    # ---- functions and other objects: copied where they refer to what is copied ----

    def _method(self, method: Any) -> Any:
        if not self._refers(method):
            return method
        owner = self._copy(method.__self__)
        if type(owner) is not type(method.__self__):
            # Of a layer that was exchanged: the other layer has its own.
            return getattr(owner, method.__name__)
        return types.MethodType(method.__func__, owner)

    def _partial(self, value: Any) -> Any:
        if not self._refers(value):
            return value
        keywords = {name: self._copy(held) for name, held in value.keywords.items()}
        return functools.partial(self._copy(value.func), *map(self._copy, value.args), **keywords)

    def _function(self, function: Any) -> Any:
        if not self._refers(function):
            return function
        cells = tuple(self._cell(cell) for cell in function.__closure__)
        new = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
        )
        self._note(function, new)
        for name in ("__kwdefaults__", "__qualname__", "__module__", "__doc__"):
            setattr(new, name, getattr(function, name))
        vars(new).update({name: self._copy(held) for name, held in vars(function).items()})
        return new

    def _cell(self, cell: Any) -> Any:
        known = self._made.get(id(cell))
        if known is not None:
            return known[1]
        new = self._note(cell, types.CellType())
        held = _contents(cell)
        if held:
            new.cell_contents = self._copy(held[0]) if self._refers(held[0]) else held[0]
        return new

    def _object(self, value: Any) -> Any:
        """An object of a class of the user's own, or of TensorFlow's that holds a state."""
        if _is_compiled_function(value):
            inner = value.python_function
            return value._clone(self._copy(inner)) if self._refers(inner) else value
        if type(value).__module__.partition(".")[0] in _FOREIGN:
            # A tf.Variable that Keras does not know.
            if hasattr(value, "assign") and hasattr(value, "read_value"):
                return self._note(value, copy.deepcopy(value))
            return value
        if not self._refers(value):
            return value
        new = self._note(value, copy.copy(value))
        for name, held in list(vars(value).items()):
            vars(new)[name] = self._copy(held) if self._refers(held) else held
        return new

    def _refers(self, value: Any) -> bool:
        """Whether `value` leads to a layer or a variable of the model."""
        seen: set[int] = set()
        todo = [value]
        while todo:
            one = todo.pop()
            if isinstance(one, _SHARED) or id(one) in seen:
                continue
            if id(one) in self._inside:
                return True
            seen.add(id(one))
            todo.extend(_references(one))
        return False


_RULES: list[tuple[Any, Any]] = [
    (keras.Variable, StructuralCopy._variable),
    (keras.Operation, StructuralCopy._operation),
    ((keras.metrics.Metric, keras.random.SeedGenerator), StructuralCopy._state),
    (tracking.Tracker, StructuralCopy._tracker),
    (_TRACKED, StructuralCopy._tracked),
    ((list, dict, set, collections.deque), StructuralCopy._container),
    ((tuple, frozenset), StructuralCopy._tuple),
    (types.MethodType, StructuralCopy._method),
    (types.FunctionType, StructuralCopy._function),
    (functools.partial, StructuralCopy._partial),
]


def _belongings(model: keras.layers.Layer) -> set[int]:
    """The identities of the layers of a model and of all that they track."""
    found: set[int] = set()
    for layer in layers_of(model):
        found.add(id(layer))
        for _, held in layer._tracker.config.values():
            found.update(id(one) for one in held)
    return found


def _references(value: Any) -> list[Any]:
    """What an object of no layer's leads to."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return list(value)
    if isinstance(value, types.MethodType):
        return [value.__self__]
    if isinstance(value, types.FunctionType):
        cells = [held for cell in value.__closure__ or () for held in _contents(cell)]
        # A function without cells can't be made anew with others.
        return [*cells, *vars(value).values()] if value.__closure__ else []
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if _is_compiled_function(value):
        return [value.python_function]
    if isinstance(value, keras.Operation):
        # A layer of another model.
        return []
    if type(value).__module__.partition(".")[0] in _FOREIGN:
        return []
    return list(vars(value).values()) if hasattr(value, "__dict__") else []


def _contents(cell: Any) -> list[Any]:
    """What a cell of a closure holds; nothing where nothing was put in yet."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _is_compiled_function(value: Any) -> bool:
    """Whether `value` is a `tf.function`, which keeps the object that it was made for."""
    return hasattr(value, "python_function") and hasattr(value, "_clone")


def _untrained() -> dict[str, Any]:
    """What a model that was never compiled has beside what a layer has."""
    # Named, since names that Keras makes are counted.
    names = set(vars(keras.Model(name="blank"))) - set(vars(keras.layers.Layer(name="blank")))
    blank = vars(keras.Model(name="blank"))
    return {name: blank[name] for name in names - _NOT_OF_TRAINING}


def _track_for_checkpoints(old: Any, new: Any) -> None:
    """Tells TensorFlow of the same attributes as `old` did, for SavedModels and checkpoints."""
    for name in getattr(old, "_self_unconditional_dependency_names", {}):
        held = vars(new).get(name)
        if hasattr(held, "_trackable_children"):
            new._track_trackable(held, name=name, overwrite=True)
