"""One function a subcommand: its arguments are the options, it prints, and returns the figures.

`command_line` imports this module late, since it imports TensorFlow.
"""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import closing
from typing import Any

from keras_int8nmt._tables import format_table
from keras_int8nmt._version import __version__
from keras_int8nmt.bench.rows import format_rows
from keras_int8nmt.cli import demo as demonstration
from keras_int8nmt.cli.evaluate import (
    check_test,
    evaluate_models,
    format_evaluation,
    listed_models,
    read_data,
)
from keras_int8nmt.cli.quantize import (
    CALIBRATION_ENTRIES,
    UsageError,
    open_with_tokenizer,
)

# Commands of their own module.
from keras_int8nmt.cli.quantize import autotune as autotune
from keras_int8nmt.cli.quantize import calibrate as calibrate
from keras_int8nmt.cli.quantize import convert as convert
from keras_int8nmt.cli.report import write_page
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.evaluation.measure import gemm_of, precision_of
from keras_int8nmt.files.journal import JournaledOutput
from keras_int8nmt.files.lines import check_writable_file, read_pairs, write_lines
from keras_int8nmt.files.output import open_output
from keras_int8nmt.files.records import make_format
from keras_int8nmt.files.source import LineSource, count_lines
from keras_int8nmt.files.windows import WINDOW
from keras_int8nmt.layers.model_state import observers
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.storage.card import fingerprint, read_card, update_card
from keras_int8nmt.storage.model_folder import open_model
from keras_int8nmt.storage.state import state_of
from keras_int8nmt.translation.files import Done, find_place, translate_lines
from keras_int8nmt.translation.translator import Translator

Figures = dict[str, Any]


# Errors that a user can mend, shown as one line.
USER_ERRORS = (KerasInt8nmtError, OSError, ImportError)

_BENCHMARKS = {
    "gemm": ("keras_int8nmt.bench.gemm", "run_gemm"),
    "gather": ("keras_int8nmt.bench.gather", "run_gather"),
    "translate": ("keras_int8nmt.bench.translation.run", "run_translate"),
    "profile": ("keras_int8nmt.bench.profile", "run_profile"),
    "paper": ("keras_int8nmt.bench.paper.run", "run_paper"),
    "corpus": ("keras_int8nmt.bench.corpus.run", "run_corpus"),
    "accuracy": ("keras_int8nmt.bench.accuracy.run", "run_accuracy"),
}
_BENCH_OPTIONS = {
    "translate": ("full", "docs", "cases", "engines", "state"),
    "corpus": ("docs", "lines", "parts"),
    "accuracy": ("docs", "state", "models", "recipes", "sentences", "test"),
}
_OPTION_NAMES = {
    "cases": "case",
    "engines": "engine",
    "parts": "part",
    "models": "model",
    "recipes": "recipe",
}


def check_native() -> None:
    """Loads the native library, so that a wrong setting is told before any work begins."""
    try:
        ops.native_info()
    except (RuntimeError, ValueError) as error:
        raise UsageError(str(error)) from error


def demo(sentences: list[str]) -> Figures:
    """Translates with the built-in model, INT8 beside float."""
    return demonstration.run(sentences)


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
        "precision": precision_of(translator),
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


def evaluate(
    models: list[str],
    src: str | None,
    ref: str | None,
    test_set: str | None,
    language_pair: str | None,
    baseline: str | None,
    paired: str | None,
    samples: int | None,
    record: bool,
    **search: Any,
) -> Figures:
    """Measures BLEU, chrF, TER, speed and memory; with several models also how they differ."""
    models = listed_models(models, baseline)
    check_test(models, paired, samples)
    data = read_data(src, ref, test_set, language_pair)
    if record:
        for model in models:
            read_card(model)
    found, comparison = evaluate_models(
        models, data, lambda path: _make_translator(path, search), paired=paired, samples=samples
    )
    figures = {model: one.to_dict() for model, one in found.items()}
    for model, one in figures.items():
        if record:
            update_card(model, {"bleu": {**one, "source": data.name, **search}})
        if comparison is not None:
            print(model)
        print(format_evaluation(one) + "\n" * (comparison is not None))
    if comparison is None:
        return figures[models[0]]
    print(comparison.to_text())
    return {"systems": figures, "comparison": comparison.to_dict()}


def bench(benchmark: str, **options: Any) -> Figures:
    """Measures speed on this machine, or accuracy; each benchmark has options of its own."""
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


def report(
    model: str,
    output: str | None = None,
    force: bool = False,
    converted: str | None = None,
    src: str | None = None,
    ref: str | None = None,
    **search: Any,
) -> Figures:
    """Prints what conversion or calibration did; also writes a page of it."""
    for name, value in (("--converted", converted), ("--src", src), ("--ref", ref)):
        if value is not None and output is None:
            raise UsageError(f"{name} is for the page that -o writes.")
    if (src is None) != (ref is None):
        raise UsageError("--src and --ref belong together.")
    check_writable_file(output, force)
    test_set = None if src is None or ref is None else read_pairs(src, ref)
    loaded, tokenizer, card = open_model(model)
    state = state_of(loaded)
    if state == "float":
        raise UsageError(f"{model} is neither calibrated nor converted.")
    if converted is not None and state == "converted":
        raise UsageError(f"{model} is converted itself; --converted is for a calibrated model.")
    page = None
    if output is not None:
        opened = loaded, tokenizer, card
        page = write_page(model, output, opened, converted, test_set, src, search)
    figures = _print_report(model, loaded, state, card)
    if page is not None:
        print(f"{len(page.tensors)} tensors, {len(page.matmuls)} MatMuls: {output}")
        figures["report"] = page.to_dict()
    return figures


def _print_report(model: str, loaded: Any, state: str, card: dict[str, Any]) -> Figures:
    for key in CALIBRATION_ENTRIES:
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


def _make_translator(path: str, search: dict[str, Any]) -> Translator:
    model, tokenizer, _ = open_with_tokenizer(path, quant=False)
    # A float model without its observers: the same answers, faster.
    # No command prints a score.
    return Translator(plain_model(model), tokenizer, return_scores=False, **search)
