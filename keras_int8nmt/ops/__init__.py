"""One TensorFlow function an op, on the native library or on stock operations: same integers.

Loaded on first use, since the functions import TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "native_available": "ops.functions",
    "native_info": "ops.functions",
    "set_num_threads": "ops.functions",
    "pack_weights": "ops.functions",
    "unpack_weights": "ops.functions",
    "int8_matmul": "ops.functions",
    "dynamic_matmul": "ops.functions",
    "quantize": "ops.functions",
    "dequantize": "ops.functions",
    "layer_norm": "ops.functions",
    "int8_attention": "ops.functions",
    "cache_append": "ops.functions",
    "int8_gather": "ops.functions",
    "embedding_lookup": "ops.functions",
    "top_k_log_probs": "ops.functions",
    # Its module has another name, since a submodule of this name would hide the function.
    "translate": "ops.translate_op",
}

__all__ = [
    "cache_append",
    "dequantize",
    "dynamic_matmul",
    "embedding_lookup",
    "int8_attention",
    "int8_gather",
    "int8_matmul",
    "layer_norm",
    "native_available",
    "native_info",
    "pack_weights",
    "quantize",
    "set_num_threads",
    "top_k_log_probs",
    "translate",
    "unpack_weights",
]

if TYPE_CHECKING:
    from keras_int8nmt.ops.functions import (
        cache_append,
        dequantize,
        dynamic_matmul,
        embedding_lookup,
        int8_attention,
        int8_gather,
        int8_matmul,
        layer_norm,
        native_available,
        native_info,
        pack_weights,
        quantize,
        set_num_threads,
        top_k_log_probs,
        unpack_weights,
    )
    from keras_int8nmt.ops.translate_op import translate
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
