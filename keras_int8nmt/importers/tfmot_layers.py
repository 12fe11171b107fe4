"""Layers of legacy Keras, plain or wrapped by TensorFlow Model Optimization, as layers of Keras 3.

To take one more kind, add a row to `_SETTINGS`, and its name to the tables below it where it has an
activation, or an output whose values are some of its inputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_int8nmt.layers.quant_dense import QuantDense

PACKAGE = "tensorflow_model_optimization"

CustomLayers = Mapping[str, Callable[[Any], keras.layers.Layer]]

_WINDOW = ("pool_size", "strides", "padding", "data_format")
_CONVOLUTION = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "use_bias")
# The settings that a layer of Keras 3 takes over from the legacy layer of the same name.
_SETTINGS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "Add": (),
    "AveragePooling1D": _WINDOW,
    "AveragePooling2D": _WINDOW,
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv1D": ("filters", "groups", *_CONVOLUTION),
    "Conv2D": ("filters", "groups", *_CONVOLUTION),
    "Conv2DTranspose": ("filters", "output_padding", *_CONVOLUTION),
    "Cropping1D": ("cropping",),
    "Cropping2D": ("cropping", "data_format"),
    "Dense": ("units", "use_bias"),
    "DepthwiseConv2D": ("depth_multiplier", *_CONVOLUTION),
    "Dropout": ("rate",),
    "Flatten": ("data_format",),
    "GlobalAveragePooling1D": ("data_format", "keepdims"),
    "GlobalAveragePooling2D": ("data_format", "keepdims"),
    "GlobalMaxPooling1D": ("data_format", "keepdims"),
    "GlobalMaxPooling2D": ("data_format", "keepdims"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "LeakyReLU": ("alpha",),
    "MaxPooling1D": _WINDOW,
    "MaxPooling2D": _WINDOW,
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "SpatialDropout1D": ("rate",),
    "SpatialDropout2D": ("rate",),
    "UpSampling2D": ("size", "data_format", "interpolation"),
    "ZeroPadding1D": ("padding",),
    "ZeroPadding2D": ("padding", "data_format"),
}
_RENAMED = {"alpha": "negative_slope"}
# Weights that have another name in Keras 3, by theirs there.
_RENAMED_WEIGHTS = {"DepthwiseConv2D": {"kernel": "depthwise_kernel"}}
_WITH_ACTIVATION = ("Activation", "Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D")
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
KEEP_RANGE = (
    "Cropping1D",
    "Cropping2D",
    "Dropout",
    "Flatten",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "Permute",
    "Reshape",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
)


def type_name(layer: Any) -> str:
    """The name of a layer's own class."""
    return type(layer).__name__


def is_wrapped(layer: Any) -> bool:
    """Whether `quantize_model` wrapped it."""
    return type_name(layer) in ("QuantizeWrapper", "QuantizeWrapperV2")


def inner_of(layer: Any) -> Any:
    """The layer itself, out of its wrapper."""
    return layer.layer if is_wrapped(layer) else layer


def told(layer: Any) -> str:
    """A layer for messages: its name and its type."""
    return f"{inner_of(layer).name} ({type_name(inner_of(layer))})"


def kind_of(inner: Any) -> str | None:
    """The layer of legacy Keras, of those known, that computes what this one does; or None.

    That of a subclass is its base, where it neither computes nor builds anything of its own.
    """
    own: Any = type(inner)
    for base in own.__mro__:
        if base.__name__ in _SETTINGS and base.__module__.partition(".")[0] == "tf_keras":
            same = own.call is base.call and own.build is base.build
            return base.__name__ if same else None
    return None


def unsupported_reason(layer: Any, custom_layers: CustomLayers) -> str | None:
    """Why a layer can't be imported; None if it can."""
    inner = inner_of(layer)
    if type_name(inner) in ("InputLayer", "QuantizeLayer"):
        return _unsupported_ranges(layer)
    if type_name(inner) in custom_layers:
        return _unsupported_ranges(layer)
    kind = kind_of(inner)
    if kind is None:
        return f"only {', '.join(_SETTINGS)} of tf_keras are known, and what `custom_layers` names"
    if has_activation(kind) and not _is_known_activation(_activation_function(inner)):
        name = _name(_activation_function(inner))
        return (
            f"its activation is {name}; only {', '.join(_ACTIVATIONS)} of tf_keras are the same "
            "in Keras 3"
        )
    return _unsupported_ranges(layer)


def _unsupported_ranges(layer: Any) -> str | None:
    bits = {getattr(quantizer, "num_bits", 8) for quantizer in quantizers(layer)}
    if bits - {8}:
        return f"it is quantized to {min(bits)} bits; only 8 are possible"
    ends = {
        k: v for k, v in weights_of(layer).items() if k.endswith(("activation_max", "output_max"))
    }
    if any(np.ndim(value) for value in ends.values()):
        return "its output has a range for each channel; only one for all is possible"
    return None


def quantizers(layer: Any) -> list[Any]:
    """The quantizers of a layer's weights, activations and output."""
    if type_name(layer) == "QuantizeLayer":
        return [layer.quantizer] if layer.quantizer else []
    if not is_wrapped(layer):
        return []
    config, inner = layer.quantize_config, layer.layer
    pairs = [*config.get_weights_and_quantizers(inner)]
    pairs += config.get_activations_and_quantizers(inner)
    return [*(quantizer for _, quantizer in pairs), *config.get_output_quantizers(inner)]


def has_quantized_weights(layer: Any) -> bool:
    """Whether it was trained with rounded weights."""
    return is_wrapped(layer) and bool(layer.quantize_config.get_weights_and_quantizers(layer.layer))


def weights_of(layer: Any) -> dict[str, np.ndarray]:
    """The weights of a layer by the last part of their names.

    Of a wrapped layer, whose own attributes are what a call has put there: rounded tensors.
    """
    return {w.name.partition(":")[0].rpartition("/")[2]: w.numpy() for w in layer.weights}


def new_layer(layer: Any, custom_layers: CustomLayers) -> keras.layers.Layer:
    """The layer of Keras 3, without its weights; a quantized Dense is a `QuantDense`."""
    inner = inner_of(layer)
    if type_name(inner) in custom_layers:
        new = custom_layers[type_name(inner)](inner)
        if not isinstance(new, keras.layers.Layer):
            raise TypeError(
                f"What `custom_layers` makes of {told(layer)} must be a layer of Keras 3; it is a "
                f"{type(new).__module__}.{type(new).__name__}."
            )
        return new
    kind = kind_of(inner)
    assert kind is not None  # told in `unsupported_reason`
    config = getattr(importlib.import_module("tf_keras").layers, kind).get_config(inner)
    settings = {_RENAMED.get(key, key): _plain(key, config[key]) for key in _SETTINGS[kind]}
    if has_activation(kind):
        settings["activation"] = activation_of(inner)
    quantized = kind == "Dense" and is_wrapped(layer)
    new_class: Any = QuantDense if quantized else getattr(keras.layers, kind)
    return new_class(name=inner.name, **settings)


def set_weights(new: keras.layers.Layer, layer: Any, custom_layers: CustomLayers) -> None:
    """Gives a built layer the weights of the legacy layer, by their names."""
    weights = weights_of(layer)
    renamed = _RENAMED_WEIGHTS.get(type_name(inner_of(layer)), {})
    custom = type_name(inner_of(layer)) in custom_layers
    for variable in new.weights:
        value = weights.get(renamed.get(variable.name, variable.name))
        if custom and (value is None or value.shape != tuple(variable.shape)):
            shapes = {name: value.shape for name, value in weights.items()}
            raise ValueError(
                f"What `custom_layers` makes of {told(layer)} has a weight {variable.name!r} of "
                f"shape {tuple(variable.shape)}; the layer has {shapes}."
            )
        if value is not None:
            variable.assign(value)


def _plain(key: str, value: Any) -> Any:
    # Legacy Keras writes one axis as a list of one, wrapped.
    return next(iter(value)) if key == "axis" and not isinstance(value, int) else value


def has_activation(kind: str | None) -> bool:
    """Whether layers of this kind have an activation."""
    return kind in _WITH_ACTIVATION


def activation_of(inner: Any) -> str | None:
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
    return kind.__name__ == name and kind.__module__.partition(".")[0] == PACKAGE


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
