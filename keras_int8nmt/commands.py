"""One function a subcommand: its arguments are the options, it prints, and returns the figures.

`cli` imports this module late, since it imports TensorFlow.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from keras_int8nmt import __version__, ops
from keras_int8nmt import demo as demonstration
from keras_int8nmt.bench.rows import format_rows
from keras_int8nmt.calibrating import calibrate as calibrate_model
from keras_int8nmt.calibration import CalibrationError, observers
from keras_int8nmt.compressed import CompressedFileError
from keras_int8nmt.conversion import ConversionError
from keras_int8nmt.conversion import convert as convert_model
from keras_int8nmt.evaluation import evaluate as evaluate_translator
from keras_int8nmt.evaluation import gemm_of
from keras_int8nmt.file_translation import Done, find_place, translate_lines
from keras_int8nmt.journal import JournaledOutput, ResumeError
from keras_int8nmt.line_source import LineSource, count_lines
from keras_int8nmt.marian import MarianFormatError
from keras_int8nmt.outputs import open_output
from keras_int8nmt.plain_model import plain_model
from keras_int8nmt.progress import progress_bar
from keras_int8nmt.record_formats import make_format
from keras_int8nmt.saving import (
    ModelFolderError,
    check_writable,
    fingerprint,
    open_model,
    precision_of,
    read_card,
    save_folder,
    state_of,
    update_card,
)
from keras_int8nmt.tables import format_table
from keras_int8nmt.text_files import TextFileError, read_lines, write_lines
from keras_int8nmt.tokenizer import TokenizerError
from keras_int8nmt.translator import Translator
from keras_int8nmt.windows import WINDOW

Figures = dict[str, Any]


class UsageError(ValueError):
    """What the user asked for can't be done; the message says why."""


# Errors that a user can mend, shown as one line.
USER_ERRORS = (
    UsageError,
    TextFileError,
    CompressedFileError,
    ResumeError,
    ModelFolderError,
    MarianFormatError,
    ConversionError,
    CalibrationError,
    TokenizerError,
    OSError,
    ImportError,
)

_BENCHMARKS = {
    "gemm": ("keras_int8nmt.bench.gemm", "run_gemm"),
    "gather": ("keras_int8nmt.bench.gather", "run_gather"),
    "translate": ("keras_int8nmt.bench.translation.run", "run_translate"),
    "profile": ("keras_int8nmt.bench.profile", "run_profile"),
    "paper": ("keras_int8nmt.bench.paper.run", "run_paper"),
    "corpus": ("keras_int8nmt.bench.corpus.run", "run_corpus"),
}
_BENCH_OPTIONS = {
    "translate": ("full", "docs", "cases", "engines", "state"),
    "corpus": ("docs", "lines", "parts"),
}
_OPTION_NAMES = {"cases": "case", "engines": "engine", "parts": "part"}


def check_native() -> None:
    """Loads the native library, so that a wrong setting is told before any work begins."""
    try:
        ops.native_info()
    except (RuntimeError, ValueError) as error:
        raise UsageError(str(error)) from error


def demo(sentences: list[str]) -> Figures:
    """Translates with the built-in model, INT8 beside float."""
    return demonstration.run(sentences)


def calibrate(
    model: str, data: str, targets: str | None, mode: str, output: str, force: bool
) -> Figures:
    """Calibrates a float model on sentences and saves it."""
    check_writable(output, force)
    sources = read_lines(data)
    references = None if targets is None else read_lines(targets)
    _require_same_length(sources, references, data, targets)
    if not any(line.strip() for line in sources):
        raise UsageError(f"{data} has no sentence.")
    loaded, tokenizer, _ = _open_with_tokenizer(model)
    if state_of(loaded) == "converted" or not observers(loaded):
        raise UsageError(f"{model} is not a float model that can be calibrated.")
    start = time.perf_counter()
    thresholds = calibrate_model(loaded, tokenizer, sources, references, mode=mode, progress=True)
    figures = {
        "mode": mode,
        "sentences": sum(1 for line in sources if line.strip()),
        "thresholds": len(thresholds),
        "seconds": time.perf_counter() - start,
    }
    description = {
        "source": Path(data).name,
        "targets": "greedy" if targets is None else Path(targets).name,
        "sentences": figures["sentences"],
    }
    card: dict[str, Any] = {"thresholds_mode": mode, "data": description}
    save_folder(loaded, output, tokenizer, card, force)
    print(
        f"{figures['thresholds']} thresholds ({mode}) from {figures['sentences']} sentences in "
        f"{figures['seconds']:.1f} s: {output}"
    )
    return figures


def convert(
    model: str, output: str, force: bool, softmax: str = "float", layer_norm: str = "float"
) -> Figures:
    """Makes the INT8 model of a calibrated one and saves it."""
    check_writable(output, force)
    loaded, tokenizer, card = open_model(model)
    if state_of(loaded) == "converted":
        raise UsageError(f"{model} is converted already.")
    int8 = convert_model(loaded, softmax=softmax, layer_norm=layer_norm)
    kept: dict[str, Any] = {k: card[k] for k in ("thresholds_mode", "data") if k in card}
    save_folder(int8, output, tokenizer, kept, force)
    report = int8.conversion_report
    done = sum(row.precision == "int8" for row in report.rows)
    print(f"{done} of {len(report.rows)} MatMuls in INT8: {output}")
    return {"precision": report.precision, **json.loads(report.to_json())}


def translate(
    model: str,
    file: str | None,
    output: str | None,
    force: bool,
    resume: bool = False,
    input_format: str = "text",
    field: str | None = None,
    output_field: str | None = None,
    on_error: str = "stop",
    window: int = WINDOW,
    **search: Any,
) -> Figures:
    """Translates a file of any size, line by line."""
    try:
        form = make_format(input_format, field, output_field)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if resume and file is None:
        raise UsageError("--resume needs a file to read; stdin can't be read again.")
    with LineSource(file, form, window) as source:

        def describe() -> dict[str, Any]:
            # Streams and batches are left out: they change no answer.
            kept = ("beam_size", "max_length", "length_penalty")
            return {
                "release": __version__,
                "input size": source.size,
                "model": fingerprint(model),
                "search": {name: search[name] for name in kept},
                "format": [input_format, field, output_field],
                "window": window,
            }

        sink = open_output(output, describe, on_error, force=force, resume=resume)
        if sink is None:
            return _finished(file, output)
        with closing(sink):
            find_place(source, sink)
            try:
                translator = _make_translator(model, search)
                done = translate_lines(
                    translator, source, sink, form, path=output, on_error=on_error
                )
            except KeyboardInterrupt:
                if isinstance(sink, JournaledOutput) and (lines := sink.safe_lines):
                    print(f"{lines} lines are safe; --resume goes on after them.", file=sys.stderr)
                raise
    return {
        **done.figures(),
        "precision": precision_of(translator.model),
        "gemm": gemm_of(translator),
    }


def _finished(file: str | None, output: str | None) -> Figures:
    """What `--resume` says of an output that is there already."""
    assert file is not None
    assert output is not None
    lines, expected = count_lines(output), count_lines(file)
    if lines != expected:
        raise UsageError(
            f"{output} has {lines} lines and {file} {expected}, so it is no finished translation "
            "of it; --force without --resume begins anew."
        )
    print(f"{output} is finished: {lines} lines.", file=sys.stderr)
    return {**Done(lines, lines, 0).figures(), "precision": None, "gemm": None}


def evaluate(model: str, src: str, ref: str, record: bool, **search: Any) -> Figures:
    """Measures BLEU, chrF, speed and memory."""
    sources, references = read_lines(src), read_lines(ref)
    _require_same_length(sources, references, src, ref)
    if not sources:
        raise UsageError(f"{src} has no sentence.")
    if record:
        read_card(model)
    translator = _make_translator(model, search)
    with progress_bar(len(sources), "translating") as bar:
        figures = evaluate_translator(translator, sources, references, bar.update)[0].to_dict()
    if record:
        update_card(model, {"bleu": {**figures, "source": Path(src).name, **search}})
    shown = {
        "BLEU": f"{figures['bleu']:.2f}",
        "chrF": f"{figures['chrf']:.2f}",
        "signature": figures["signature"],
        "sentences": str(figures["sentences"]),
        "tokens/s": f"{figures['tokens_per_second']:.0f}",
        "seconds": f"{figures['seconds']:.1f}",
        "peak RSS": f"{figures['peak_rss_mb']:.0f} MB",
        "precision": f"{figures['precision']} ({figures['gemm']})",
    }
    print("\n".join(f"{name:10} {value}" for name, value in shown.items()))
    return figures


def bench(benchmark: str, **options: Any) -> Figures:
    """Measures speed on this machine; each benchmark has options of its own."""
    given = {name: value for name, value in options.items() if value}
    for name in given:
        having = [key for key, names in _BENCH_OPTIONS.items() if name in names]
        if benchmark not in having:
            raise UsageError(
                f"only the benchmark {' and '.join(having)} has the option "
                f"--{_OPTION_NAMES.get(name, name)}."
            )
    if benchmark == "translate":
        given = _checked_bench_options(given)
    module, function = _BENCHMARKS[benchmark]
    try:
        run = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UsageError(f"this release has no benchmark {benchmark!r}.") from error
    figures = run(**given)
    print("\n".join(f"{key}: {value}" for key, value in figures["machine"].items()))
    print(format_rows(figures["rows"]))
    return figures


def _checked_bench_options(given: dict[str, Any]) -> dict[str, Any]:
    from keras_int8nmt.bench.translation.run import checked_options

    try:
        return checked_options(given)
    except ValueError as error:
        raise UsageError(str(error)) from error


def report(model: str) -> Figures:
    """Prints what conversion or calibration did."""
    loaded, _, card = open_model(model)
    state = state_of(loaded)
    if state == "float":
        raise UsageError(f"{model} is neither calibrated nor converted.")
    for key in ("thresholds_mode", "data"):
        if key in card:
            print(f"{key}: {card[key]}")
    if "bleu" in card:
        print(f"BLEU: {card['bleu']}")
    if state == "converted":
        if loaded.conversion_report is None:
            raise UsageError(f"{model} carries no conversion report.")
        print(loaded.conversion_report.to_text())
        content = json.loads(loaded.conversion_report.to_json())
        return {"state": state, "precision": loaded.conversion_report.precision, **content}
    rows = [
        {"name": path, "thresholds": [float(t) for t in observer.thresholds()]}
        for path, observer in observers(loaded)
        if observer.is_calibrated
    ]
    table: list[tuple[str, ...]] = [("input of", "from", "to")]
    table += [(str(r["name"]), *(f"{t:.5g}" for t in r["thresholds"])) for r in rows]
    print(format_table(table))
    return {"state": state, "precision": "float32", "rows": rows}


def write_json(path: str, figures: Figures) -> None:
    """Writes the figures of a command."""
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    write_lines(path, [text])


def _open_with_tokenizer(path: str, quant: bool = True) -> tuple[Any, Any, dict[str, Any]]:
    model, tokenizer, card = open_model(path, quant=quant)
    if tokenizer is None:
        raise UsageError(f"{path} has no tokenizer.")
    return model, tokenizer, card


def _make_translator(path: str, search: dict[str, Any]) -> Translator:
    model, tokenizer, _ = _open_with_tokenizer(path, quant=False)
    # A float model without its observers: the same answers, faster.
    # No command prints a score.
    return Translator(plain_model(model), tokenizer, return_scores=False, **search)


def _require_same_length(
    sources: list[str], targets: list[str] | None, source_file: str, target_file: str | None
) -> None:
    if targets is not None and len(sources) != len(targets):
        raise UsageError(
            f"{source_file} has {len(sources)} lines and {target_file} {len(targets)}; they must "
            "have as many."
        )
