"""`bench corpus`: its parts in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.corpus.end_to_end import end_to_end_row
from keras_int8nmt.bench.corpus.memory import memory_rows
from keras_int8nmt.bench.corpus.options import LINES
from keras_int8nmt.bench.corpus.report import NAME, kept_rows, write_docs
from keras_int8nmt.bench.corpus.sorting import order_rows
from keras_int8nmt.bench.corpus.streams import stream_rows
from keras_int8nmt.bench.corpus.text import read_sentences, varied
from keras_int8nmt.bench.documents import commit_of_figures
from keras_int8nmt.bench.timing import machine
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.client import available_cores
from keras_int8nmt.bench.translation.sentences import read_news, read_tatoeba
from keras_int8nmt.bench.translation.session import Session, say, tokenizer
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.storage.model_folder import load_folder, save_folder

_TURNS = 5


def run_corpus(
    lines: int = LINES, parts: Sequence[str] | None = None, docs: str | None = None
) -> dict[str, Any]:
    """Measures what `translate` makes of a corpus.

    Args:
        lines: Of the long file whose memory is watched. The other parts take no more sentences
            than this, and no more than they need.
        parts: Names of `PARTS`; None: all.
        docs: Folder to write tables and plot into. Rows of other parts that were written from there
            on an equal machine stay.

    Returns:
        `machine` and `rows`, each with the name of its `part`.
    """
    rows: list[dict[str, Any]] = []
    with Session(available_cores()) as session:
        for name in parts or PARTS:
            say(name)
            rows += [{**made, "part": name} for made in PARTS[name](session, lines)]
    figures = {"machine": machine(), "rows": rows}
    if docs is not None:
        kept = kept_rows(Path(docs), figures)
        both = sorted([*kept, *rows], key=lambda made: list(PARTS).index(made["part"]))
        # Figures are as old as the oldest of them.
        earlier = {"commit": commit_of_figures(Path(docs), NAME)} if kept else {}
        write_docs(Path(docs), {**earlier, **figures, "rows": both})
    return figures


def _paths() -> tuple[str, ...]:
    return ("layers", "fast") if ops.native_available() else ("layers",)


def _sorting(session: Session, lines: int) -> list[dict[str, Any]]:
    """No sorting, by words and by tokens, on news: one stream on one thread."""
    corpus = read_news()
    say(f"sentences: {corpus.origin}")
    texts = [text for text in corpus.sources if text.strip()][: min(lines, 768)]
    model, _, _ = load_folder(session.model_folder("tiny") / "int8")
    encode, longest = tokenizer().encode, model.max_length
    ids = [[*sentence[:-1][: longest - 1], sentence[-1]] for sentence in map(encode, texts)]
    ops.set_num_threads(1)
    case = f"tiny beam4 b32 s1 {corpus.origin.partition(':')[0]}"
    return [row for path in _paths() for row in order_rows(model, texts, ids, path, case, _TURNS)]


def _streams(session: Session, lines: int) -> list[dict[str, Any]]:
    """Streams of a thread each against one stream."""
    cores = len(session.cores)
    if cores == 1 or not ops.native_available():
        say("streams: they need two cores and the native library")
        return []
    cases = Case("base", 4, 32, cores, 27), Case("tiny", 4, 32, cores, 0)
    most = 128 * cores, 4000
    return [
        row
        for case, sentences in zip(cases, most, strict=True)
        for row in stream_rows(session, case, min(lines, sentences), _TURNS)
    ]


def _files(session: Session, lines: int) -> list[dict[str, Any]]:
    """`translate` on a file against the decoder alone, greedy and by beam search."""
    model, _, _ = load_folder(session.model_folder("tiny") / "int8")
    corpus = read_tatoeba()
    say(f"sentences: {corpus.origin}")
    # Of the length that the small model knows.
    texts = list(varied(corpus.sources, min(lines, 10_000)))
    origin = corpus.origin.partition(":")[0]
    return [
        end_to_end_row(model, tokenizer(), texts, beam, f"tiny beam{beam} b32 {origin}", _TURNS)
        for beam in (1, 4)
    ]


def _memory(session: Session, lines: int) -> list[dict[str, Any]]:
    """A long file, whose memory must stay flat."""
    sentences, origin = read_sentences()
    say(f"sentences: {origin}")
    folder = session.model_folder("tiny")
    model, _, _ = load_folder(folder / "int8")
    save_folder(model, folder / "with_tokenizer", tokenizer())
    case = f"tiny beam1 b32, {lines} lines"
    return memory_rows(folder / "with_tokenizer", varied(sentences, lines), lines, case, say)


PARTS: dict[str, Callable[[Session, int], list[dict[str, Any]]]] = {
    "sorting": _sorting,
    "streams": _streams,
    "files": _files,
    "memory": _memory,
}
