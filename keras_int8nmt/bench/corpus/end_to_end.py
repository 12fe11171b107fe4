"""A file translated into a file against the decoder alone on the same sentences."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.timing import interleaved, row
from keras_int8nmt.files.lines import write_lines
from keras_int8nmt.files.output import open_output
from keras_int8nmt.files.records import TextLines
from keras_int8nmt.files.source import LineSource
from keras_int8nmt.translation.files import translate_lines
from keras_int8nmt.translation.translator import Translator


def end_to_end_row(
    model: Any, tokenizer: Any, texts: Sequence[str], beam: int, case: str, turns: int
) -> dict[str, Any]:
    """Target tokens/s of `translate` on a file, and of the decoder on its tokens in memory.

    Reading, tokenizing, the queue, detokenizing, writing and waiting for the disk are in the
    first. Loading the model is in none.
    """
    with (
        Translator(model, tokenizer, beam_size=beam) as translator,
        tempfile.TemporaryDirectory(prefix="keras-int8nmt-bench-") as folder,
    ):
        source, target = Path(folder) / "source", Path(folder) / "target"
        write_lines(source, texts)
        ids = [tokenizer.encode(text) for text in texts if text.strip()]
        tokens = sum(len(r.hypotheses[0].tokens) for r in translator.translate_ids(ids))

        def whole() -> None:
            done = translate_file(translator, source, target)
            if done != tokens:
                raise RuntimeError(f"The file has {done} tokens and should have {tokens}.")

        times = interleaved({"file": whole, "ids": lambda: translator.translate_ids(ids)}, turns)
    made = row(
        "translate of a file vs decoder alone",
        case,
        tokens / times["file"].median,
        tokens / times["ids"].median,
        "tokens/s",
        spread=max(times["file"].spread, times["ids"].spread),
        smaller_is_better=False,
    )
    return {**made, "sentences": len(texts)}


def translate_file(translator: Translator, source: Path, target: Path) -> int:
    """What `keras-int8nmt translate --force` does once the model is there; target tokens."""
    form = TextLines()
    with LineSource(source, form) as lines:
        output = open_output(target, dict, "stop", force=True)
        assert output is not None
        with closing(output):
            return translate_lines(
                translator, lines, output, form, path=target, bar=False
            ).target_tokens
