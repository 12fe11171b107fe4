"""`from_tfmot`: what TensorFlow Model Optimization has trained, with the ranges that it learned.

`quantize_model` of that package puts a `QuantizeLayer` behind each input and wraps each layer in a
`QuantizeWrapperV2`. Their variables `*_min` and `*_max` are the ends of the uint8 range of a
tensor (`tf.quantization.fake_quant_with_min_max_vars`). Here they become the thresholds of the
`QuantDense` that reads this tensor. The package works on legacy Keras (`tf_keras`); the result is a
Keras 3 model.
"""

from __future__ import annotations

import importlib
import os
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_int8nmt.importers.table import require_packages
from keras_int8nmt.importers.tfmot_layers import (
    KEEP_RANGE,
    PACKAGE,
    CustomLayers,
    activation_of,
    has_activation,
    has_quantized_weights,
    inner_of,
    is_wrapped,
    kind_of,
    new_layer,
    quantizers,
    set_weights,
    told,
    type_name,
    unsupported_reason,
    weights_of,
)
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.layers.quant_layer import QuantLayer

# What quantize_model gives no range, since it is known beforehand (as in TensorFlow Lite).
_FIXED_RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0)}

Range = tuple[float, float] | None


@dataclass
class _Tensor:
    """A tensor of the new model, the range learned for it, and the legacy layer it comes from."""

    value: Any
    range: Range
    source: str


def from_tfmot(model: Any, *, custom_layers: CustomLayers | None = None) -> keras.Model:
    """Imports a model that `tfmot.quantization.keras.quantize_model` made and `fit` has trained.

    Needs the packages `tensorflow-model-optimization` and `tf_keras`
    (`pip install "keras-int8nmt[tfmot]"`).

    Args:
        model: A Sequential or Functional `tf_keras` model with quantized layers, or the path of one
            that was saved as `.h5` or SavedModel (tf_keras itself reads no quantized model back
            from `.keras`); what it has of your own is found in the scope of
            `tfmot.quantization.keras.quantize_scope`. Layers: Dense, Conv1D, Conv2D,
            Conv2DTranspose, DepthwiseConv2D, Activation, ReLU, LeakyReLU, Softmax, Add,
            Concatenate, Dropout, Flatten, Reshape, Permute, BatchNormalization, pooling, padding
            and cropping over one axis or two, UpSampling2D, and LayerNormalization (where it was
            annotated with a `QuantizeConfig` of its own, which quantizes its output). Activations:
            those of legacy Keras and of `tf.nn` that Keras 3 computes alike; not hard_sigmoid, and
            no functions of your own. A subclass of such a layer that has no `call` and no `build`
            of its own is taken as that layer.
        custom_layers: For other layers of your own: by the name of the class, a function of the
            legacy layer that gives a layer of Keras 3, which gets the weights of the same names. A
            `QuantDense` gets the range of its input as well.

    Returns:
        A Functional Keras 3 model. Each quantized Dense is a `QuantDense` with the range learned
        for its input as thresholds; everything else is a plain layer. A warning lists the layers
        that were trained with rounded weights and stay float, such as convolutions: INT8 does not
        take them. The model computes in float, and `convert` makes the INT8 model of it at once.
        Weights get a scale for each output channel there, and not one for all.

    Raises:
        ImportError: where the packages are not installed.
        TypeError: if `model` is no model of `tf_keras`, or a custom layer none of Keras 3.
        ValueError: naming all layers that can't be imported and why, those included that read a
            tensor for which no range was learned; a file that can't be read.

    Example:

        >>> quantized = tfmot.quantization.keras.quantize_model(model)
        >>> quantized.compile("adam", "mse")
        >>> quantized.fit(x, y)
        >>> int8 = convert(from_tfmot(quantized))
    """
    tf_keras = _import_packages()
    if isinstance(model, (str, os.PathLike)):
        model = _load(tf_keras, os.fspath(model))
    if not isinstance(model, tf_keras.Model):
        raise TypeError(
            "from_tfmot takes a model of tf_keras (legacy Keras) or the path of one; received "
            f"{type(model).__module__}.{type(model).__name__}."
        )
    sequential = isinstance(model, tf_keras.Sequential)
    if not model.built or not (sequential or (hasattr(model, "get_layer") and model.inputs)):
        raise ValueError(
            f"from_tfmot takes a built Sequential or Functional model; {model.name!r} is a "
            f"{type(model).__name__}."
        )
    custom = custom_layers or {}
    _check_layers(model, custom)
    return _rebuild(model, sequential, custom)


def _load(tf_keras: Any, path: str) -> Any:
    try:
        with importlib.import_module(PACKAGE).quantization.keras.quantize_scope():
            return tf_keras.models.load_model(path, compile=False)
    except ValueError as error:
        hint = ""
        if path.endswith(".keras"):
            hint = " Of quantized models tf_keras reads back .h5 and SavedModel, and not .keras."
        raise ValueError(f"tf_keras can't load {path!r}: {error}{hint}") from error


def _import_packages() -> Any:
    require_packages("from_tfmot", [PACKAGE, "tf_keras"], "tfmot")
    # First the package: it decides which Keras it works on.
    importlib.import_module(PACKAGE)
    return importlib.import_module("tf_keras")


def _check_layers(model: Any, custom_layers: CustomLayers) -> None:
    wrong = [
        f"{told(layer)}: {reason}"
        for layer in model.layers
        if (reason := unsupported_reason(layer, custom_layers))
    ]
    if wrong:
        raise ValueError(
            f"These layers of {model.name!r} can't be imported:\n  " + "\n  ".join(wrong)
        )


def _rebuild(model: Any, sequential: bool, custom_layers: CustomLayers) -> keras.Model:
    tensors: dict[int, _Tensor] = {}
    inputs, stay_float = [], []
    for given in model.inputs:
        new = keras.Input(given.shape[1:], dtype=given.dtype.name)
        inputs.append(new)
        tensors[id(given)] = last = _Tensor(new, None, "the input")
    for layer in model.layers:
        if type_name(layer) == "InputLayer":
            continue
        if sequential:
            read: Any = last
        else:
            node = _node(layer, tensors)
            several = [tensors[id(t)] for t in node.keras_inputs]
            read = several if len(several) > 1 else several[0]
        last, quantized = _import_layer(layer, read, custom_layers)
        if not sequential:
            tensors[id(node.outputs)] = last
        if has_quantized_weights(layer) and not quantized:
            stay_float.append(told(layer))
    if stay_float:
        warnings.warn(
            f"INT8 does not take these layers of {model.name!r}, which were trained with rounded "
            f"weights; they stay float: {', '.join(stay_float)}.",
            stacklevel=3,
        )
    outputs = [last.value] if sequential else [tensors[id(t)].value for t in model.outputs]
    # A model with one input and one output takes and gives tensors, not lists of one.
    return keras.Model(
        inputs[0] if len(inputs) == 1 else inputs,
        outputs[0] if len(outputs) == 1 else outputs,
        name=model.name,
    )


def _node(layer: Any, tensors: dict[int, _Tensor]) -> Any:
    """The call of a layer in this model; it may have others, in the model that was quantized."""
    nodes = [n for n in layer.inbound_nodes if all(id(t) in tensors for t in n.keras_inputs)]
    if len(nodes) != 1:
        raise ValueError(
            f"{told(layer)} is called {len(nodes)} times; only "
            "layers that are called once can be imported."
        )
    return nodes[0]


def _import_layer(layer: Any, read: Any, custom_layers: CustomLayers) -> tuple[_Tensor, bool]:
    """What the new layer makes of the tensors it reads, and whether it can become INT8.

    Its weights and thresholds are set.
    """
    if type_name(layer) == "QuantizeLayer":
        return _Tensor(read.value, _range(layer, layer.name) or read.range, "the input"), False
    new = new_layer(layer, custom_layers)
    value = new([t.value for t in read] if isinstance(read, list) else read.value)
    set_weights(new, layer, custom_layers)
    if isinstance(new, QuantDense):
        if read.range is None:
            raise ValueError(
                f"No range was learned for what {told(layer)} reads, the output of "
                f"{read.source}: annotate that layer with a QuantizeConfig for its output."
            )
        new.input_observer.set_thresholds(*read.range)
    output = _Tensor(value, _output_range(layer, read), inner_of(layer).name)
    return output, isinstance(new, QuantLayer)


def _output_range(layer: Any, read: Any) -> Range:
    inner = inner_of(layer)
    kind = kind_of(inner)
    if not is_wrapped(layer):
        # It computes in float, unless it only moves what was rounded before.
        return read.range if kind in KEEP_RANGE else None
    learned = _range(layer, "output") or _range(layer, "post_activation")
    if learned:
        return learned
    activation = activation_of(inner) if has_activation(kind) else (kind or "").lower()
    if activation in _FIXED_RANGES:
        return _FIXED_RANGES[activation]
    if kind in KEEP_RANGE or (kind == "Activation" and activation is None):
        return read.range
    return None


def _range(layer: Any, name: str) -> Range:
    """The range of this name that a layer has learned, with zero in it."""
    weights = weights_of(layer)
    if name + "_min" not in weights:
        return None
    low, high = (np.float32(weights[name + end]) for end in ("_min", "_max"))
    low, high = min(low, np.float32(0)), max(high, np.float32(0))
    narrow = any(getattr(quantizer, "narrow_range", False) for quantizer in quantizers(layer))
    if low == -high and not narrow and low < 0:
        # All 256 codes: a range with a zero point, and not the 255 codes of equal sides.
        high = np.nextafter(high, np.float32(np.inf))
    return float(low), float(high)
