"""`keras-int8nmt translate`: lines of text in, as many out, in their order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from keras_int8nmt._version import __version__
from keras_int8nmt.cli.commands import Figures
from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.cli.opening import open_translator
from keras_int8nmt.cli.options import add_force, add_search, add_verbose, positive
from keras_int8nmt.files import WINDOW
from keras_int8nmt.files.journal import JournaledOutput
from keras_int8nmt.files.opening import (
    FORMATS,
    count_records,
    format_of,
    open_sink,
    open_source,
)
from keras_int8nmt.files.output import ON_ERROR, Output
from keras_int8nmt.files.parquet import ParquetOutput
from keras_int8nmt.files.records import OUTPUT_FIELD, LineFormat
from keras_int8nmt.files.source import Source
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.storage.card import fingerprint, read_card
from keras_int8nmt.storage.recognition import search_defaults

if TYPE_CHECKING:
    from keras_int8nmt.translation.files import Done


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="one of ours, Marian's, or another program's",
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="packed if it ends with .gz or .zst; default: stdin"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write, likewise; default: stdout"
    )
    anew = parser.add_mutually_exclusive_group()
    add_force(anew)
    anew.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier run into this output stopped, for whatever reason; begin it "
        "if there was none, and do nothing if it is finished",
    )
    _add_lines(parser)
    add_search(parser)
    _add_batches(parser)
    parser.add_argument(
        "--ray",
        action="store_true",
        help="translate on the nodes of the Ray cluster that RAY_ADDRESS names or that runs here, "
        "each with one copy of the model; the same bytes. Every node has MODEL at the same path",
    )
    add_verbose(parser)
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="no progress and no summary on stderr; warnings and errors remain",
    )


def _add_lines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input-format",
        choices=FORMATS,
        default=FORMATS[0],
        help="text: a sentence a line; jsonl: a JSON object a line, which is written with the "
        "translation as one more entry; tsv: columns between tabs, without quotes; the "
        "translation is written after the last; parquet: columns of a file, written with further "
        "ones. Default: %(default)s",
    )
    parser.add_argument(
        "--field",
        metavar="NAME_OR_NUMBER",
        help="what to translate. jsonl: an entry, default: text; OUTER.INNER: one in an object. "
        "tsv: a column, counted from 1 (default), or its name in the first line, which is a header "
        "then. parquet: a column, default: text",
    )
    parser.add_argument(
        "--output-field",
        metavar="NAME",
        help="jsonl: the entry of the translation, which may replace one that is there; "
        "OUTER.INNER: one in an object. tsv with a header, parquet: the name of the new column. "
        "Default: "
        f"{OUTPUT_FIELD}; if what is translated lies in an entry of this name, beside it. In jsonl "
        "a translation that ran into the length limit also has the entry finished, false, and one "
        "of a source that was cut source_cut, true",
    )
    parser.add_argument(
        "--on-error",
        choices=ON_ERROR,
        default=ON_ERROR[0],
        help="what becomes of a line that can't be translated, after it was reported by its "
        "number. stop: an error; what was written before is safe. copy: the source stands for "
        "the translation, and a line that can't be read is copied as it is. empty: an empty "
        "translation, and an empty line for one that can't be read. Default: %(default)s",
    )


def _add_batches(parser: argparse.ArgumentParser) -> None:
    from keras_int8nmt.runtime.batching import SORTS

    parser.add_argument(
        "--sort",
        choices=SORTS,
        default=SORTS[0],
        help="in which order sentences of a window are begun; default: %(default)s, the most first",
    )
    parser.add_argument(
        "--window",
        type=positive,
        default=WINDOW,
        metavar="LINES",
        help="lines that are sorted together and then written; with 1 each line is answered before "
        "the next one is read. Default: %(default)s",
    )


def run(
    model: str,
    file: str | None,
    output: str | None,
    force: bool,
    resume: bool = False,
    input_format: str = FORMATS[0],
    field: str | None = None,
    output_field: str | None = None,
    on_error: str = ON_ERROR[0],
    window: int = WINDOW,
    ray: bool = False,
    verbose: bool = False,
    quiet: bool = False,
    **search: Any,
) -> dict[str, Any]:
    """Translates a file of any size, line by line."""
    try:
        form = format_of(input_format, field, output_field)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if ray:
        from keras_int8nmt.clusters.session import ray_module

        # Missing, it is told before anything is written.
        ray_module()
    if resume and file is None:
        raise UsageError("--resume needs a file to read; stdin can't be read again.")
    with open_source(file, form, window) as source:

        def describe() -> dict[str, Any]:
            # Streams and batches are left out: they change no answer.
            return {
                "release": __version__,
                "input size": source.size,
                "model": fingerprint(model),
                "search": SearchOptions.of(search_defaults(model).resolved(search)).resume_key(),
                "format": [input_format, field, output_field],
                "window": window,
            }

        sink = open_sink(output, file, form, describe, on_error, force=force, resume=resume)
        if sink is None:
            return _finished(file, output, form)
        with closing(sink):
            try:
                by = partial(_by_cluster if ray else _by_translator, model, search, verbose)
                return _translated(by, source, sink, form, output, on_error, quiet)
            except KeyboardInterrupt:
                if isinstance(sink, JournaledOutput | ParquetOutput) and (lines := sink.safe_lines):
                    print(f"{lines} lines are safe; --resume goes on after them.", file=sys.stderr)
                raise


def _translated(
    by: Callable[..., tuple[Done, Figures]],
    source: Source,
    sink: Output,
    form: LineFormat,
    output: str | None,
    on_error: str,
    quiet: bool,
) -> Figures:
    """Translates what is not in the output yet."""
    from keras_int8nmt.translation.files import find_place

    find_place(source, sink)
    done, about = by(source, sink, form, path=output, on_error=on_error, bar=not quiet)
    if not quiet:
        print(f"keras-int8nmt: {done.summary()}", file=sys.stderr)
    return {**done.figures(), **about}


def _by_translator(
    model: str, search: dict[str, Any], verbose: bool, *files: Any, **options: Any
) -> tuple[Done, Figures]:
    """On this machine; what was done, and by which kernels."""
    from keras_int8nmt.evaluation.measure import gemm_of, precision_of
    from keras_int8nmt.translation.files import translate_lines

    translator = open_translator(model, search, verbose)
    done = translate_lines(translator, *files, **options)
    return done, {"precision": precision_of(translator), "gemm": gemm_of(translator)}


def _by_cluster(
    model: str, search: dict[str, Any], verbose: bool, *files: Any, **options: Any
) -> tuple[Done, Figures]:
    """On the nodes of a cluster, whose kernels are theirs."""
    from keras_int8nmt.clusters.files import translate_on_cluster

    done = translate_on_cluster(model, search, *files, **options)
    return done, {"precision": read_card(model)["precision"], "gemm": None}


def _finished(file: str | None, output: str | None, form: LineFormat) -> Figures:
    """What `--resume` says of an output that is there already."""
    assert file is not None
    assert output is not None
    from keras_int8nmt.translation.files import Done

    lines, expected = count_records(output, form), count_records(file, form)
    if lines != expected:
        raise UsageError(
            f"{output} has {lines} lines and {file} {expected}, so it is no finished translation "
            "of it; --force without --resume begins anew."
        )
    print(f"{output} is finished: {lines} lines.", file=sys.stderr)
    return {**Done(lines, lines, 0).figures(), "precision": None, "gemm": None}
