"""`bench profile`: where the time of one beam-4 batch goes, on the fast path and the layer path."""

from __future__ import annotations

import time
from typing import Any

from keras_int8nmt import native
from keras_int8nmt.bench.base_model import (
    SENTENCES,
    SOURCE_TOKENS,
    make_models,
    make_sources,
    translator_settings,
)
from keras_int8nmt.bench.timing import machine, require_native, row, speed
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.ops.library import op_times
from keras_int8nmt.translation.translator import Translator

# The ops of the layer path by kind of work.
_KINDS = {
    "GEMM": ("KerasInt8nmtMatMul",),
    "attention": ("KerasInt8nmtAttention", "KerasInt8nmtBiasedAttention"),
    "top-k": ("KerasInt8nmtTopKLogProbs",),
    "gather": ("KerasInt8nmtGather",),
    "LayerNorm": ("KerasInt8nmtLayerNorm",),
    "cache append": ("KerasInt8nmtCacheAppend",),
    "embedding and quantize": ("KerasInt8nmtEmbedding", "KerasInt8nmtQuantize"),
}


def run_profile() -> dict[str, Any]:
    """Profiles INT8 Transformer base, 32 sentences of 27 tokens, beam 4, one stream of one thread.

    Returns:
        `machine` (with `int8_peak`, the 10^9 operations a second of one core; "-" where there is
        none) and `rows`: for each path and kind of work, `ours` its milliseconds and `peer` those
        of the whole batch, so that `1 / ratio` is its share. Products that are all GEMM have
        `gops`, 10^9 operations a second, and `percent_of_int8_peak` where there is a peak.
    """
    require_native()
    ops.set_num_threads(1)
    int8, _ = make_models()
    peak = native.int8_peak()
    return {
        "machine": {**machine(), "int8_peak": round(peak, 1) if peak else "-"},
        "rows": [*_fast_rows(int8, peak), *_layer_rows(int8)],
    }


def _fast_rows(int8: Any, peak: float) -> list[dict[str, Any]]:
    sources = make_sources()
    with Translator(int8, None, path="fast", **translator_settings()) as translator:
        translator.translate_ids(sources)
        with translator.native_engine.decoder().profile() as times:
            start = time.perf_counter()
            translator.translate_ids(sources)
            total = time.perf_counter() - start
    seconds = {kind: work["seconds"] for kind, work in times.items()}
    seconds["Python, queue, waiting"] = total - sum(seconds.values())
    work = _operations(int8.settings)
    rows = []
    for kind, share in seconds.items():
        reached = speed(work[kind] / share * 1e-9, peak) if kind in work else {}
        rows.append({**_row("fast path", kind, share, total), **reached})
    return rows


def _layer_rows(int8: Any) -> list[dict[str, Any]]:
    sources = make_sources()
    translator = Translator(int8, None, path="layers", **translator_settings())
    translator.translate_ids(sources)
    with op_times() as times:
        start = time.perf_counter()
        translator.translate_ids(sources)
        total = time.perf_counter() - start
    seconds = {
        kind: sum(times.get(op, {}).get("seconds", 0.0) for op in names)
        for kind, names in _KINDS.items()
    }
    seconds["TensorFlow and Python"] = total - sum(seconds.values())
    return [_row("layer path", kind, share, total) for kind, share in seconds.items()]


def _row(path: str, kind: str, seconds: float, total: float) -> dict[str, Any]:
    case = f"base beam4 b{SENTENCES} s1 {SOURCE_TOKENS}tok"
    name = f"{path}, {kind}: {100 * seconds / total:.1f} %"
    return row(name, case, seconds * 1e3, total * 1e3, "ms")


def _operations(settings: dict[str, Any]) -> dict[str, float]:
    """Operations of the batch by the decoder's kinds of work; a product and an addition are two.

    One row a source token in the encoder. In the decoder one row in the first step, when all beams
    are one, and `beam_size` in each of the others.
    """
    search = translator_settings()
    d, encoder_ffn, ffn = (settings[n] for n in ("model_dim", "ffn_dim", "decoder_ffn_dim"))
    layers = settings["num_decoder_layers"]
    tokens = SENTENCES * SOURCE_TOKENS
    rows = SENTENCES * (1 + search["beam_size"] * (search["max_length"] - 1))
    encoder = settings["num_encoder_layers"] * (4 * d * d + 2 * d * encoder_ffn)
    return {
        "encoder GEMM": 2.0 * tokens * encoder,
        "cross keys and values GEMM": 2.0 * tokens * layers * 2 * d * d,
        "QKV GEMM": 2.0 * rows * layers * 3 * d * d,
        "self-attention output GEMM": 2.0 * rows * layers * d * d,
        "cross-attention GEMM": 2.0 * rows * layers * 2 * d * d,
        "feed-forward GEMM": 2.0 * rows * layers * 2 * d * ffn,
        "output projection and top-k": 2.0 * rows * d * settings["target_vocabulary_size"],
    }
