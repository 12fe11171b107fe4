"""`bench translate`: INT8 against float, both by `Translator`; speed and memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from keras_int8nmt import ops
from keras_int8nmt.bench.base_model import (
    SENTENCES,
    SOURCE_TOKENS,
    TARGET_TOKENS,
    make_models,
    make_sources,
    translator_settings,
)
from keras_int8nmt.bench.memory import loading_memory
from keras_int8nmt.bench.timing import interleaved, machine, require_native, row
from keras_int8nmt.saving import save_folder
from keras_int8nmt.translator import Translator

_MIB = 2.0**20


def run_translate() -> dict[str, Any]:
    """Measures Transformer base, random weights, 32 sentences of 27 tokens, 28 target tokens.

    Float runs on plain Keras layers with all cores that TensorFlow takes; INT8 on one core.

    Returns:
        `machine` and `rows`: target tokens/s for beam 4 and greedy search, and the peak memory of
        a fresh process that loads the model, less that of one that only imports.
    """
    require_native()
    ops.set_num_threads(1)
    int8, plain = make_models()
    sources = make_sources()
    rows = []
    for beam_size in (4, 1):
        calls = {}
        for name, model in (("int8", int8), ("float", plain)):
            translator = Translator(model, None, **translator_settings(beam_size))
            calls[name] = lambda t=translator: t.translate_ids(sources)
        times = interleaved(calls, repeat=5)
        tokens = SENTENCES * TARGET_TOKENS
        rows.append(
            row(
                "int8-layers vs keras-float32",
                f"base beam{beam_size} b{SENTENCES} s1 {SOURCE_TOKENS}tok",
                tokens / times["int8"].median,
                tokens / times["float"].median,
                "tokens/s",
                spread=max(times["int8"].spread, times["float"].spread),
                smaller_is_better=False,
            )
        )
    return {"machine": machine(), "rows": [*rows, _memory(int8, plain)]}


def _memory(int8: Any, plain: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for name, model in (("int8", int8), ("float", plain)):
            path = Path(folder) / name
            save_folder(model, path)
            peaks.append(loading_memory(path) / _MIB)
    return row("memory int8 vs float32", "base load", peaks[0], peaks[1], "MiB")
