"""`convert`: a calibrated model in, a new INT8 model and a report out; the old one is only read."""

from __future__ import annotations

from typing import Any

import keras

from keras_int8nmt.calibration import observers
from keras_int8nmt.conversion_options import ConversionOptions
from keras_int8nmt.conversion_policy import Policy, assign
from keras_int8nmt.conversion_report import ConversionReport
from keras_int8nmt.graph_conversion import convert_graph, graph_matmuls
from keras_int8nmt.output_sqnr import measure_output_sqnr
from keras_int8nmt.transformer import Transformer
from keras_int8nmt.transformer_conversion import convert_transformer, transformer_matmuls


class ConversionError(ValueError):
    """The model can't be converted; the message names the layers and what they lack."""


def convert(
    model: keras.Model,
    *,
    policy: Policy = None,
    sample: Any = None,
    softmax: str = "float",
    layer_norm: str = "float",
) -> keras.Model:
    """Makes the INT8 inference model of a calibrated model.

    Weights become int8 with one scale per output channel, zero points go into the biases, and
    layers that feed each other exchange codes. Softmax, LayerNorm and the logits stay float32
    unless an option says otherwise.

    Args:
        model: A calibrated model: a `Transformer` from `build_transformer` or `load_marian`, or a
            Sequential or Functional model with `QuantDense`, `QuantAttention` and `Int8Gather`
            layers. It is not changed.
        policy: Which MatMuls become INT8; the others compute in float32.

            - None or "int8": all of them.
            - "paper": as in arXiv 1906.00532: not QK^T and AV, and not a MatMul whose input comes
              out of a ReLU.
            - "float32": none. Then the embeddings stay float, too.
            - A mapping from the names in the report, such as
              `"transformer/encoder_block_0/attention/QK"`, to "int8" or "float32"; what it does not
              mention becomes INT8.
            - A function from such a name to "int8" or "float32".
        sample: Optional inputs of one batch. With it the report tells the output SQNR of each
            MatMul.
        softmax: "float", or "integer": attention's softmax in whole numbers, after I-BERT
            (arXiv 2101.01321, algorithms 2 and 3; see `integer_functions`).
        layer_norm: "float", or "integer": the LayerNorms of a `Transformer` likewise (algorithm 4).
            A norm must not have an `epsilon` above 1.

    Returns:
        A new model with the report as `model.conversion_report` (`ConversionReport`): each MatMul,
        INT8 or float and why, with thresholds, SQNR and clipped mass.

    Raises:
        ConversionError: when a layer was not calibrated (its path is named), when there is nothing
            to convert, or when the model is of a kind that can't be rebuilt.
        ValueError: for a `policy` that is not known, or that names a MatMul or a precision that is
            not, and for an unknown `softmax` or `layer_norm`.

    Example:

        >>> model.predict(batches, callbacks=[CalibrationCallback(mode="symmetric")])
        >>> int8 = convert(model)
        >>> print(int8.conversion_report.to_text())
    """
    options = ConversionOptions(softmax=softmax, layer_norm=layer_norm)
    _require_calibrated(model)
    if isinstance(model, Transformer):
        list_matmuls, rebuild = transformer_matmuls, convert_transformer
    elif isinstance(model, keras.Sequential) or _is_functional(model):
        if layer_norm != "float":
            raise ConversionError(
                f"`layer_norm` can be {layer_norm!r} for a Transformer only; {model.name!r} is a "
                f"{type(model).__name__}, whose LayerNormalization layers are kept as they are."
            )
        list_matmuls, rebuild = graph_matmuls, convert_graph
    else:
        raise ConversionError(
            f"convert() rebuilds Transformer, Sequential and Functional models; {model.name!r} is "
            f"a {type(model).__name__}, whose `call` can't be rebuilt from its layers."
        )
    matmuls = list_matmuls(model)
    if all(matmul.float_reason for matmul in matmuls):
        raise ConversionError(
            f"Model {model.name!r} has no layer to convert: build it with quant=True, or use "
            "QuantDense, QuantAttention and Int8Gather."
        )
    converted, rows = rebuild(model, assign(policy, matmuls, options))
    if sample is not None:
        rows = measure_output_sqnr(model, sample, rows)
    converted.conversion_report = ConversionReport(rows)
    return converted


def _is_functional(model: keras.Model) -> bool:
    # keras.Functional has no public name: take the class from a model that is one.
    probe = keras.Input((1,))
    return isinstance(model, type(keras.Model(inputs=probe, outputs=probe)))


def _require_calibrated(model: keras.Model) -> None:
    missing = []
    for path, observer in observers(model):
        optional = observer.name in ("key_input", "value_input")
        if not observer.is_calibrated and not optional:
            missing.append(path)
    if missing:
        listed = "\n  ".join(missing)
        raise ConversionError(
            f"{len(missing)} observers of model {model.name!r} have no thresholds; calibrate first "
            f"(CalibrationCallback with evaluate or predict):\n  {listed}"
        )
