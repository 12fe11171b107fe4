"""Keras layers: `Quant*` trains and is calibrated, `Int8*` is what conversion makes of it.

`Float*` and `Mixed*` are what it makes where a policy leaves something float, `Dynamic*` where each
row gets a scale of its own. Loaded on first use: the converted layers import TensorFlow, the others
run on JAX too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "Observer": "layers.observing.observer",
    "QuantDense": "layers.quant_dense",
    "QuantEinsumDense": "layers.quant_einsum_dense",
    "QuantCachedMultiHeadAttention": "layers.quant_cached_attention",
    "QuantGroupQueryAttention": "layers.quant_group_query_attention",
    "QuantReversibleEmbedding": "layers.quant_reversible_embedding",
    "QuantT5MultiHeadAttention": "layers.quant_t5_attention",
    "QuantAttention": "layers.quant_attention",
    "Int8Gather": "layers.int8_gather",
    "Int8Dense": "layers.inference.int8_dense",
    "Int8Attention": "layers.inference.int8_attention",
    "Int8Embedding": "layers.inference.int8_embedding",
    "DynamicDense": "layers.inference.dynamic_dense",
    "DynamicAttention": "layers.inference.dynamic_attention",
    "FloatDense": "layers.inference.float_dense",
    "FloatEmbedding": "layers.inference.float_embedding",
    "FrozenCachedAttention": "layers.inference.frozen_cached_attention",
    "FrozenEinsumDense": "layers.inference.frozen_einsum_dense",
    "FrozenGroupQueryAttention": "layers.inference.frozen_group_query_attention",
    "FrozenReversibleEmbedding": "layers.inference.frozen_reversible_embedding",
    "FrozenT5Attention": "layers.inference.frozen_t5_attention",
    "MixedAttention": "layers.inference.mixed_attention",
    "WeightFileError": "layers.plain_files",
    "load_plain_weights": "layers.plain_files",
    "ranges_in_exports": "layers.exporting",
    "save_plain_weights": "layers.plain_files",
}

__all__ = [
    "DynamicAttention",
    "DynamicDense",
    "FloatDense",
    "FloatEmbedding",
    "FrozenCachedAttention",
    "FrozenEinsumDense",
    "FrozenGroupQueryAttention",
    "FrozenReversibleEmbedding",
    "FrozenT5Attention",
    "Int8Attention",
    "Int8Dense",
    "Int8Embedding",
    "Int8Gather",
    "MixedAttention",
    "Observer",
    "QuantAttention",
    "QuantCachedMultiHeadAttention",
    "QuantDense",
    "QuantEinsumDense",
    "QuantGroupQueryAttention",
    "QuantReversibleEmbedding",
    "QuantT5MultiHeadAttention",
    "WeightFileError",
    "load_plain_weights",
    "ranges_in_exports",
    "save_plain_weights",
]

if TYPE_CHECKING:
    from keras_int8nmt.layers.exporting import ranges_in_exports
    from keras_int8nmt.layers.inference.dynamic_attention import DynamicAttention
    from keras_int8nmt.layers.inference.dynamic_dense import DynamicDense
    from keras_int8nmt.layers.inference.float_dense import FloatDense
    from keras_int8nmt.layers.inference.float_embedding import FloatEmbedding
    from keras_int8nmt.layers.inference.frozen_cached_attention import FrozenCachedAttention
    from keras_int8nmt.layers.inference.frozen_einsum_dense import FrozenEinsumDense
    from keras_int8nmt.layers.inference.frozen_group_query_attention import (
        FrozenGroupQueryAttention,
    )
    from keras_int8nmt.layers.inference.frozen_reversible_embedding import FrozenReversibleEmbedding
    from keras_int8nmt.layers.inference.frozen_t5_attention import FrozenT5Attention
    from keras_int8nmt.layers.inference.int8_attention import Int8Attention
    from keras_int8nmt.layers.inference.int8_dense import Int8Dense
    from keras_int8nmt.layers.inference.int8_embedding import Int8Embedding
    from keras_int8nmt.layers.inference.mixed_attention import MixedAttention
    from keras_int8nmt.layers.int8_gather import Int8Gather
    from keras_int8nmt.layers.observing.observer import Observer
    from keras_int8nmt.layers.plain_files import (
        WeightFileError,
        load_plain_weights,
        save_plain_weights,
    )
    from keras_int8nmt.layers.quant_attention import QuantAttention
    from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention
    from keras_int8nmt.layers.quant_dense import QuantDense
    from keras_int8nmt.layers.quant_einsum_dense import QuantEinsumDense
    from keras_int8nmt.layers.quant_group_query_attention import QuantGroupQueryAttention
    from keras_int8nmt.layers.quant_reversible_embedding import QuantReversibleEmbedding
    from keras_int8nmt.layers.quant_t5_attention import QuantT5MultiHeadAttention
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
