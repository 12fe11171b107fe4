"""Operations of the traced graph before and after conversion."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_int8nmt.bench.timing import row

# They hand values on and compute nothing.
_BOOKKEEPING = frozenset(
    {"Const", "Identity", "IdentityN", "NoOp", "Placeholder", "ReadVariableOp", "VarHandleOp"}
)
_BEAM, _CAPACITY = 4, 16


def op_count(model: Any) -> int:
    """Operations of encoder, first caches and one decoder step, those in branches included.

    Constants, reads of variables and what only hands a value on are not counted.

    Args:
        model: A `Transformer` or an `Int8Transformer`.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def encode_and_step(source: tf.Tensor) -> tf.Tensor:
        cache = model.start_cache(model.encode(source), _BEAM, _CAPACITY)
        tokens = tf.fill([tf.shape(source)[0], _BEAM], model.start_id)
        return model.decode_step(tokens, tf.constant(0), cache)[0]

    graph = encode_and_step.get_concrete_function().graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return sum(node.op not in _BOOKKEEPING for body in bodies for node in body)


def op_count_rows(int8: Any, plain: Any, quant: Any, name: str) -> list[dict[str, Any]]:
    """INT8 against plain Keras layers, and against the model that is calibrated and simulates.

    Args:
        int8: What `convert` gave.
        plain: The model of plain Keras layers.
        quant: The model of `quant=True`.
        name: Of the model, for the case.
    """
    case = f"{name}, encoder and one step"
    ours = op_count(int8)
    return [
        row(f"operations int8 vs {peer}", case, ours, op_count(model), "operations")
        for peer, model in (("float32", plain), ("simulation", quant))
    ]
