"""`convert`: a calibrated model in, a new INT8 model and a report out; the old one is only read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_int8nmt import native
from keras_int8nmt.conversion.calls import note_calls
from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.conversion.float_products import with_float_products
from keras_int8nmt.conversion.graph import convert_graph, graph_matmuls, graph_products
from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.conversion.output_sqnr import measure_output_sqnr
from keras_int8nmt.conversion.policy import Policy, assign
from keras_int8nmt.conversion.report import CodeExchange, ConversionReport
from keras_int8nmt.conversion.transformer import (
    convert_transformer,
    transformer_matmuls,
    transformer_products,
)
from keras_int8nmt.layers.finite import require_finite
from keras_int8nmt.layers.matmuls import MatMul
from keras_int8nmt.layers.model_state import observers, without_statistics, without_thresholds
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.thresholds.errors import few


def convert(
    model: keras.Model,
    *,
    policy: Policy = None,
    sample: Any = None,
    weight_bits: int | None = None,
    weights: str = "per_channel",
    bias_correction: bool = False,
    activations: str = "static",
    softmax: str = "float",
    layer_norm: str = "float",
    fused: bool = True,
) -> keras.Model:
    """Makes the INT8 inference model of a calibrated model, or with dynamic scales of any.

    Weights become int8 with scales of their own, zero points go into the biases, and
    layers that feed each other exchange codes. Softmax, LayerNorm and the logits stay float32
    unless an option says otherwise.

    Args:
        model: A calibrated model: a `Transformer` from `build_transformer` or `load_marian`, or any
            Keras model with `QuantDense`, `QuantAttention` and `Int8Gather` layers, such as
            `quantize_model` gives. It is not changed.
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
            MatMul, and counts multiplications of models whose lengths vary.
        weight_bits: Bits of the weights. 8: codes in [-127, 127]. 7: in [-63, 63], which CPUs
            without VNNI multiply a little faster, since more products of them fit into 16 bits; the
            step is twice as large. None: what suits the back end at hand, see
            `native.weight_bits`: 8 on every x86 CPU with AVX2. Sums are exact on every CPU,
            whichever was chosen.
        activations: Where the scales of activations come from.

            - "static": from calibration.
            - "dynamic": each row of a MatMul's input has the scale 127 / max |x|, found when it is
              multiplied. No calibration is needed, and a `Transformer` may be one of `quant=False`.
              QK^T, AV and the key/value caches are float32 then. See
              `quantization.quantize_rows`.
        weights: "per_channel": one scale for each output channel of a kernel, and for each row of
            an embedding table. "per_tensor": one for all of it, as in the paper. `simulate` knows
            the former only.
        bias_correction: Whether the mean error that int8 weights add to each output channel, on
            the data that calibration saw, is taken off the bias (Nagel et al. 2019, "Data-Free
            Quantization Through Weight Equalization and Bias Correction", section 4.2). Errors of
            the input's rounding and clipping are not in it. The speed is the same.
        softmax: "float", or "integer": attention's softmax in whole numbers, after I-BERT
            (arXiv 2101.01321, algorithms 2 and 3; see `integer_rules`).
        layer_norm: "float", or "integer": the LayerNorms of a `Transformer` likewise (algorithm 4).
            A norm must not have an `epsilon` above 1.
        fused: Whether neighbours in graphs of any Keras model exchange codes where that changes no
            number. False: the output of each layer is float, for who cuts a new model at one. A
            `Transformer` is always fused.

    Returns:
        A new model with the report as `model.conversion_report` (`ConversionReport`): each MatMul,
        INT8 or float and why, with thresholds, SQNR and clipped mass, and the bits of the weights.
        Of a Sequential or Functional model also every other float product, in whatever layer,
        operation or code of your own, the share of multiplications in INT8, and which layers
        exchange codes.

    Raises:
        ConversionError: when a layer was not calibrated (its path is named) and `activations` is
            "static", or, for `bias_correction`, by a release that kept no means of channels; when
            there is nothing to convert, or the model has no weights yet; and for a `sample` of a
            model of `quant=False`.
        NotFiniteError: naming a weight that is NaN or infinite.
        ValueError: for an option that is not known, for `bias_correction` with dynamic scales, for
            `fused=False` of a `Transformer`, and for a policy that names a MatMul or a precision
            that is not known, or asks for INT8 where it can't be.

    Example:

        >>> model.predict(batches, callbacks=[CalibrationCallback()])
        >>> int8 = convert(model)
        >>> print(int8.conversion_report.to_text())
        >>> int8 = convert(load_marian("opus-mt-en-de"), activations="dynamic")
    """
    options = ConversionOptions(
        weight_bits=native.weight_bits() if weight_bits is None else weight_bits,
        weights=weights,
        bias_correction=bias_correction,
        activations=activations,
        softmax=softmax,
        layer_norm=layer_norm,
    )
    if not options.dynamic:
        _require_calibrated(model)
    elif not model.built:
        raise ConversionError(f"Model {model.name!r} has no weights yet; build or call it first.")
    require_finite(model)
    if options.bias_correction:
        _require_statistics(model)
    products: Callable[..., list[MatMul]]
    if isinstance(model, Transformer):
        if not fused:
            raise ValueError(
                "The INT8 form of a Transformer is always fused: `fused` must be True."
            )
        matmuls, products = transformer_matmuls(model, options), transformer_products
    elif isinstance(model, keras.Model):
        if layer_norm != "float":
            raise ConversionError(
                f"`layer_norm` can be {layer_norm!r} for a Transformer only; {model.name!r} is a "
                f"{type(model).__name__}, whose LayerNormalization layers are computed in float."
            )
        note_calls(model, assume=options.dynamic)
        matmuls, products = graph_matmuls(model), graph_products
    else:
        raise ConversionError(f"convert() takes a Keras model; received a {type(model).__name__}.")
    if all(matmul.float_reason for matmul in matmuls):
        reasons = few([f"{m.name}: {m.float_reason}" for m in matmuls])
        raise ConversionError(
            f"Model {model.name!r} has no layer to convert: give it to quantize_model(), build it "
            "with quant=True, or use QuantDense, QuantAttention and Int8Gather."
            + (f" What it has stays float: {reasons}" if matmuls else "")
        )
    assignment = assign(policy, matmuls, options)
    exchanges: list[CodeExchange] = []
    if isinstance(model, Transformer):
        converted, rows = convert_transformer(model, assignment)
    else:
        converted, rows, exchanges = convert_graph(model, assignment, fused)
    if sample is not None:
        if not observers(model):
            raise ConversionError("The output SQNR on a `sample` needs a model of quant=True.")
        rows = measure_output_sqnr(model, sample, products(model), rows, options)
    report = ConversionReport(rows, options.weight_bits, exchanges=exchanges)
    if not isinstance(model, Transformer):
        report = with_float_products(report, converted, sample)
    converted.conversion_report = report
    return converted


def _require_calibrated(model: keras.Model) -> None:
    missing = without_thresholds(model)
    if missing:
        raise ConversionError(
            f"{len(missing)} observers of model {model.name!r} have no thresholds "
            f"({few(missing)}); calibrate first (CalibrationCallback with evaluate or predict), or "
            'convert with activations="dynamic", which needs no calibration.'
        )


def _require_statistics(model: keras.Model) -> None:
    missing = without_statistics(model)
    if missing:
        raise ConversionError(
            f"bias_correction needs the mean of each channel, which {len(missing)} observers of "
            f"model {model.name!r} lack: it was calibrated by a release that did not keep them, or "
            f"its thresholds were set by hand; calibrate again: {few(missing)}"
        )
