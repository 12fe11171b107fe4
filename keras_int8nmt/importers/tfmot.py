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
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_int8nmt.importers.table import require_packages
from keras_int8nmt.layers.quant_dense import QuantDense

_PACKAGE = "tensorflow_model_optimization"

# The settings that a layer of Keras 3 takes over from the legacy layer of the same name.
_SETTINGS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "Add": (),
    "AveragePooling1D": ("pool_size", "strides", "padding", "data_format"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Cropping1D": ("cropping",),
    "Dense": ("units", "use_bias"),
    "Dropout": ("rate",),
    "Flatten": ("data_format",),
    "GlobalAveragePooling1D": ("data_format", "keepdims"),
    "GlobalMaxPooling1D": ("data_format", "keepdims"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "LeakyReLU": ("alpha",),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "SpatialDropout1D": ("rate",),
    "ZeroPadding1D": ("padding",),
}
_RENAMED = {"alpha": "negative_slope"}
# Activations that Keras 3 computes as legacy Keras does, by the name that they have in both. Not
# hard_sigmoid: clip(0.2 x + 0.5, 0, 1) there is relu6(x + 3) / 6 here.
_ACTIVATIONS = (
    "elu",
    "exponential",
    "gelu",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
)
# Their outputs are some of their inputs, or zero.
_KEEP_RANGE = (
    "Cropping1D",
    "Dropout",
    "Flatten",
    "GlobalMaxPooling1D",
    "Permute",
    "Reshape",
    "SpatialDropout1D",
    "ZeroPadding1D",
)
# What quantize_model gives no range, since it is known beforehand (as in TensorFlow Lite).
_FIXED_RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0)}

Range = tuple[float, float] | None


@dataclass
class _Tensor:
    """A tensor of the new model, the range learned for it, and the legacy layer it comes from."""

    value: Any
    range: Range
    source: str


def from_tfmot(model: Any) -> keras.Model:
    """Imports a model that `tfmot.quantization.keras.quantize_model` made and `fit` has trained.

    Needs the packages `tensorflow-model-optimization` and `tf_keras`
    (`pip install "keras-int8nmt[tfmot]"`).

    Args:
        model: A Sequential or Functional `tf_keras` model with quantized layers, or the path of one
            that was saved. Layers: Dense, Activation, ReLU, LeakyReLU, Softmax, Add, Concatenate,
            Dropout, Flatten, Reshape, Permute, BatchNormalization, pooling, padding and cropping
            over one axis, and LayerNormalization (where it was annotated with a `QuantizeConfig` of
            its own, which quantizes its output). Activations: those of legacy Keras and of `tf.nn`
            that Keras 3 computes alike; not hard_sigmoid, and no functions of your own.

    Returns:
        A Functional Keras 3 model. Each quantized Dense is a `QuantDense` with the range learned
        for its input as thresholds; what was not quantized is a plain layer. It computes in float,
        and `convert` makes the INT8 model of it at once. Weights get a scale for each output
        channel there, and not one for all.

    Raises:
        ImportError: where the packages are not installed.
        TypeError: if `model` is no model of `tf_keras`.
        ValueError: naming all layers that can't be imported and why, those included that read a
            tensor for which no range was learned.

    Example:

        >>> quantized = tfmot.quantization.keras.quantize_model(model)
        >>> quantized.compile("adam", "mse")
        >>> quantized.fit(x, y)
        >>> int8 = convert(from_tfmot(quantized))
    """
    tf_keras = _import_packages()
    if isinstance(model, (str, os.PathLike)):
        with importlib.import_module(_PACKAGE).quantization.keras.quantize_scope():
            model = tf_keras.models.load_model(os.fspath(model))
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
    _check_layers(model)
    return _rebuild(model, sequential)


def _import_packages() -> Any:
    require_packages("from_tfmot", [_PACKAGE, "tf_keras"], "tfmot")
    # First the package: it decides which Keras it works on.
    importlib.import_module(_PACKAGE)
    return importlib.import_module("tf_keras")


def _kind(layer: Any) -> str:
    return type(layer).__name__


def _is_wrapped(layer: Any) -> bool:
    return _kind(layer) in ("QuantizeWrapper", "QuantizeWrapperV2")


def _inner(layer: Any) -> Any:
    return layer.layer if _is_wrapped(layer) else layer


def _check_layers(model: Any) -> None:
    wrong = [
        f"{_inner(layer).name} ({_kind(_inner(layer))}): {reason}"
        for layer in model.layers
        if (reason := _unsupported_reason(layer))
    ]
    if wrong:
        raise ValueError(
            f"These layers of {model.name!r} can't be imported:\n  " + "\n  ".join(wrong)
        )


def _unsupported_reason(layer: Any) -> str | None:
    kind = _kind(_inner(layer))
    if kind == "InputLayer":
        return None
    if kind not in _SETTINGS and kind != "QuantizeLayer":
        return f"only {', '.join(_SETTINGS)} are known"
    if _has_activation(kind) and not _is_known_activation(_activation_function(_inner(layer))):
        name = _name(_activation_function(_inner(layer)))
        return (
            f"its activation is {name}; only {', '.join(_ACTIVATIONS)} of tf_keras are the same "
            "in Keras 3"
        )
    bits = {getattr(quantizer, "num_bits", 8) for quantizer in _quantizers(layer)}
    if bits - {8}:
        return f"it is quantized to {min(bits)} bits; only 8 are possible"
    ends = {
        k: v for k, v in _weights(layer).items() if k.endswith(("activation_max", "output_max"))
    }
    if any(np.ndim(value) for value in ends.values()):
        return "its output has a range for each channel; only one for all is possible"
    return None


def _quantizers(layer: Any) -> list[Any]:
    """The quantizers of a layer's weights, activations and output."""
    if _kind(layer) == "QuantizeLayer":
        return [layer.quantizer] if layer.quantizer else []
    if not _is_wrapped(layer):
        return []
    config, inner = layer.quantize_config, layer.layer
    pairs = [*config.get_weights_and_quantizers(inner)]
    pairs += config.get_activations_and_quantizers(inner)
    return [*(quantizer for _, quantizer in pairs), *config.get_output_quantizers(inner)]


def _weights(layer: Any) -> dict[str, np.ndarray]:
    """The weights of a layer by the last part of their names.

    Of a wrapped layer, whose own attributes are what a call has put there: rounded tensors.
    """
    return {w.name.partition(":")[0].rpartition("/")[2]: w.numpy() for w in layer.weights}


def _rebuild(model: Any, sequential: bool) -> keras.Model:
    tensors: dict[int, _Tensor] = {}
    inputs = []
    for given in model.inputs:
        new = keras.Input(given.shape[1:], dtype=given.dtype.name)
        inputs.append(new)
        tensors[id(given)] = last = _Tensor(new, None, "the input")
    for layer in model.layers:
        if _kind(layer) == "InputLayer":
            continue
        if sequential:
            last = _import_layer(layer, last)
            continue
        node = _node(layer, tensors)
        read = [tensors[id(t)] for t in node.keras_inputs]
        tensors[id(node.outputs)] = _import_layer(layer, read if len(read) > 1 else read[0])
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
            f"{_inner(layer).name} ({_kind(_inner(layer))}) is called {len(nodes)} times; only "
            "layers that are called once can be imported."
        )
    return nodes[0]


def _import_layer(layer: Any, read: Any) -> _Tensor:
    """The new layer on the tensors it reads; its weights and thresholds are set."""
    if _kind(layer) == "QuantizeLayer":
        return _Tensor(read.value, _range(layer, layer.name) or read.range, "the input")
    new = _new_layer(layer)
    value = new([t.value for t in read] if isinstance(read, list) else read.value)
    weights = _weights(layer)
    for variable in new.weights:
        if variable.name in weights:
            variable.assign(weights[variable.name])
    if isinstance(new, QuantDense):
        if read.range is None:
            raise ValueError(
                f"No range was learned for what {new.name} (Dense) reads, the output of "
                f"{read.source}: annotate that layer with a QuantizeConfig for its output."
            )
        new.input_observer.set_thresholds(*read.range)
    return _Tensor(value, _output_range(layer, read), _inner(layer).name)


def _new_layer(layer: Any) -> keras.layers.Layer:
    inner = _inner(layer)
    kind, config = _kind(inner), inner.get_config()
    settings = {_RENAMED.get(key, key): _plain(key, config[key]) for key in _SETTINGS[kind]}
    if _has_activation(kind):
        settings["activation"] = _activation(inner)
    quantized = kind == "Dense" and _is_wrapped(layer)
    new_class: Any = QuantDense if quantized else getattr(keras.layers, kind)
    return new_class(name=inner.name, **settings)


def _plain(key: str, value: Any) -> Any:
    # Legacy Keras writes one axis as a list of one, wrapped.
    return next(iter(value)) if key == "axis" and not isinstance(value, int) else value


def _has_activation(kind: str) -> bool:
    return kind in ("Dense", "Activation")


def _activation(inner: Any) -> str | None:
    """The name of a layer's activation, one of `_ACTIVATIONS`; None where there is none."""
    name = _name(_activation_function(inner))
    return None if name in ("linear", "NoOpActivation") else name


def _activation_function(inner: Any) -> Any:
    """A layer's activation; a wrapped layer's is wrapped, too."""
    function = inner.activation
    return function.activation if _is_of_package(function, "QuantizeAwareActivation") else function


def _is_known_activation(function: Any) -> bool:
    """Whether it is the function that its name says; a user's own may have any name."""
    if _is_of_package(function, "NoOpActivation"):
        return True
    # Names that legacy Keras has no function for, relu6 and silu, it takes from TensorFlow.
    modules = (
        importlib.import_module("tf_keras").activations,
        importlib.import_module("tensorflow").nn,
    )
    name = _name(function)
    return name in _ACTIVATIONS and any(
        getattr(module, name, None) is function for module in modules
    )


def _is_of_package(function: Any, name: str) -> bool:
    kind = type(function)
    return kind.__name__ == name and kind.__module__.partition(".")[0] == _PACKAGE


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _output_range(layer: Any, read: Any) -> Range:
    inner = _inner(layer)
    kind = _kind(inner)
    if not _is_wrapped(layer):
        # It computes in float, unless it only moves what was rounded before.
        return read.range if kind in _KEEP_RANGE else None
    learned = _range(layer, "output") or _range(layer, "post_activation")
    if learned:
        return learned
    activation = _activation(inner) if _has_activation(kind) else kind.lower()
    if activation in _FIXED_RANGES:
        return _FIXED_RANGES[activation]
    if kind in _KEEP_RANGE or (kind == "Activation" and activation is None):
        return read.range
    return None


def _range(layer: Any, name: str) -> Range:
    """The range of this name that a layer has learned, with zero in it."""
    weights = _weights(layer)
    if name + "_min" not in weights:
        return None
    low, high = (np.float32(weights[name + end]) for end in ("_min", "_max"))
    low, high = min(low, np.float32(0)), max(high, np.float32(0))
    narrow = any(getattr(quantizer, "narrow_range", False) for quantizer in _quantizers(layer))
    if low == -high and not narrow and low < 0:
        # All 256 codes: a range with a zero point, and not the 255 codes of equal sides.
        high = np.nextafter(high, np.float32(np.inf))
    return float(low), float(high)
