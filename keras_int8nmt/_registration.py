"""The package's classes that a `.keras` file can hold, known to Keras before they are imported.

Keras finds a class of a file by its registered name, and a class is registered when its module is
imported. So that `import keras_int8nmt` is enough and stays light, a stand-in is registered under
each name: asked for an object, it imports the class, which takes its place by then.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "keras_int8nmt"

# The module of each registered class, below the package.
HOMES = {
    "ChannelStatistics": "layers.observing.channel_statistics",
    "DecoderBlock": "models.blocks",
    "DynamicAttention": "layers.inference.dynamic_attention",
    "DynamicDense": "layers.inference.dynamic_dense",
    "EncoderBlock": "models.blocks",
    "EntryQuantizer": "models.int8_transformer",
    "FloatDense": "layers.inference.float_dense",
    "FloatEmbedding": "layers.inference.float_embedding",
    "FrozenCachedAttention": "layers.inference.frozen_cached_attention",
    "FrozenEinsumDense": "layers.inference.frozen_einsum_dense",
    "FrozenGroupQueryAttention": "layers.inference.frozen_group_query_attention",
    "FrozenLayerNorm": "layers.inference.frozen_layer_norm",
    "FrozenReversibleEmbedding": "layers.inference.frozen_reversible_embedding",
    "FrozenT5Attention": "layers.inference.frozen_t5_attention",
    "Int8Attention": "layers.inference.int8_attention",
    "Int8DecoderBlock": "models.int8_blocks",
    "Int8Dense": "layers.inference.int8_dense",
    "Int8Embedding": "layers.inference.int8_embedding",
    "Int8EncoderBlock": "models.int8_blocks",
    "Int8Gather": "layers.int8_gather",
    "Int8Transformer": "models.int8_transformer",
    "InverseSquareRoot": "training.schedule",
    "LearnedThreshold": "layers.observing.learned_threshold",
    "MixedAttention": "layers.inference.mixed_attention",
    "Observer": "layers.observing.observer",
    "QuantAttention": "layers.quant_attention",
    "QuantCachedMultiHeadAttention": "layers.quant_cached_attention",
    "QuantDense": "layers.quant_dense",
    "QuantEinsumDense": "layers.quant_einsum_dense",
    "QuantGroupQueryAttention": "layers.quant_group_query_attention",
    "QuantReversibleEmbedding": "layers.quant_reversible_embedding",
    "QuantT5MultiHeadAttention": "layers.quant_t5_attention",
    "Quantizer": "layers.inference.quantizer",
    "ResidualNorm": "layers.inference.residual_norm",
    "SmoothedCrossEntropy": "training.loss",
    "Switch": "layers.observing.switch",
    "Transformer": "models.transformer",
}


class _StandIn:
    """What Keras finds under a name until the class of that name is imported.

    Asked for an object, it gives one of the class: importing that has registered it.
    """

    home: str

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._real()(*args, **kwargs)

    @classmethod
    def _real(cls) -> Any:
        return getattr(importlib.import_module(f"{PACKAGE}.{cls.home}"), cls.__name__)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls._real().from_config(config)


def register(keras: ModuleType) -> None:
    """Registers a stand-in for each class that is not registered yet."""
    registered = keras.saving.get_custom_objects()
    for name, home in HOMES.items():
        # It goes by the class's name in the messages of Keras, too.
        body = {"home": home, "__module__": f"{PACKAGE}.{home}", "__qualname__": name}
        registered.setdefault(f"{PACKAGE}>{name}", type(name, (_StandIn,), body))


class _WhenKerasIsImported:
    """Finds Keras where all other finders do, and registers the classes once it is loaded.

    Whoever only asks whether there is Keras leaves it in place.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "keras":
            return None
        for finder in list(sys.meta_path):
            # Never another hook of ours, which would ask this one; old finders have no such method.
            find = None if _is_hook(finder) else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    self._follow(spec.loader)
                return spec
        return None

    def _follow(self, loader: Any) -> None:
        load = loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            del loader.exec_module
            load(module)
            _take_hooks_out()
            register(module)

        loader.exec_module = load_and_register


def _is_hook(finder: Any) -> bool:
    # By name: after a reload there are two classes of it.
    return type(finder).__name__ == _WhenKerasIsImported.__name__


def _take_hooks_out() -> None:
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _is_hook(finder)]


def register_with_keras() -> None:
    """Makes the classes known to Keras now or, where it is not imported yet, as soon as it is."""
    keras = sys.modules.get("keras")
    if keras is None:
        _take_hooks_out()
        sys.meta_path.insert(0, _WhenKerasIsImported())
    elif hasattr(keras, "saving"):
        register(keras)
