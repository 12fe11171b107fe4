"""`bench profile`: where the time of one beam-4 batch goes, by kind of operation."""

from __future__ import annotations

import time
from typing import Any

from keras_int8nmt import native, ops
from keras_int8nmt.bench.base_model import (
    SENTENCES,
    SOURCE_TOKENS,
    make_models,
    make_sources,
    translator_settings,
)
from keras_int8nmt.bench.timing import machine, require_native, row
from keras_int8nmt.translator import Translator

_KINDS = {
    "GEMM": ("KerasInt8nmtMatMul",),
    "attention": ("KerasInt8nmtAttention",),
    "top-k": ("KerasInt8nmtTopKLogProbs",),
    "gather": ("KerasInt8nmtGather",),
    "LayerNorm": ("KerasInt8nmtLayerNorm",),
    "cache append": ("KerasInt8nmtCacheAppend",),
    "embedding and quantize": ("KerasInt8nmtEmbedding", "KerasInt8nmtQuantize"),
}


def run_profile() -> dict[str, Any]:
    """Profiles INT8 Transformer base, 32 sentences of 27 tokens, beam 4, one stream.

    Returns:
        `machine` and `rows`: for each kind, `ours` its milliseconds and `peer` those of the whole
        batch, so that `1 / ratio` is its share; "TensorFlow and Python" is what is left.
    """
    require_native()
    ops.set_num_threads(1)
    int8, _ = make_models()
    translator = Translator(int8, None, **translator_settings())
    sources = make_sources()
    translator.translate_ids(sources)
    with native.op_times() as times:
        start = time.perf_counter()
        translator.translate_ids(sources)
        total = time.perf_counter() - start
    shares = {
        kind: sum(times.get(op, {}).get("seconds", 0.0) for op in names)
        for kind, names in _KINDS.items()
    }
    shares["TensorFlow and Python"] = total - sum(shares.values())
    case = f"base beam4 b{SENTENCES} s1 {SOURCE_TOKENS}tok"
    rows = []
    for kind, seconds in shares.items():
        share = f"{kind}: {100 * seconds / total:.1f} %"
        rows.append(row(share, case, seconds * 1e3, total * 1e3, "ms"))
    return {"machine": machine(), "rows": rows}
