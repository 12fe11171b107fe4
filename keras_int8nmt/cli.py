"""The command `keras-int8nmt`: parses, calls one function of `commands`, prints what it gives."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

from keras_int8nmt import __version__
from keras_int8nmt.text_files import check_writable_file

_USER_ERROR = 2
_MODES = ("naive", "symmetric", "independent", "conjugate")
_BENCHMARKS = ("gemm", "gather", "translate", "profile", "paper", "corpus")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The words after the command's name; by default those of this process.

    Returns:
        The exit status: 0, or 2 after an error that the user can mend (one line on stderr).
    """
    options = vars(_parser().parse_args(arguments))
    name = options.pop("command")
    json_path = options.pop("json")
    commands = _import_commands()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            check_writable_file(json_path, force=True)
            commands.check_native()
            figures = getattr(commands, name)(**options)
        if json_path is not None:
            commands.write_json(json_path, figures)
    except BrokenPipeError:
        # Who read our output has gone, as `head` does. Nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except commands.USER_ERRORS as error:
        message = " ".join(str(error).split())
        print(f"keras-int8nmt {name}: {message}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        return 130
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"keras-int8nmt: {message}", file=sys.stderr)


def _import_commands() -> Any:
    # INT8 runs on TensorFlow, whatever Keras is set to elsewhere.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return importlib.import_module("keras_int8nmt.commands")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with _silent_stderr():
        return importlib.import_module("keras_int8nmt.commands")


@contextmanager
def _silent_stderr() -> Any:
    """Holds back what native code writes to stderr; shown after all if there is an error.

    TensorFlow logs a few lines on import at every log level.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-int8nmt", description="INT8 translation with Keras on ordinary CPUs."
    )
    parser.add_argument("--version", action="version", version=f"keras-int8nmt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--json", metavar="FILE", help="also write the figures as JSON")
        return added

    _add_demo(command)
    _add_calibrate(command)
    _add_convert(command)
    _add_translate(command)
    _add_evaluate(command)
    _add_bench(command)
    _add_report(command)
    return parser


_Command = Callable[[str, str], argparse.ArgumentParser]


def _add_demo(command: _Command) -> None:
    parser = command("demo", "Translate with the built-in model: INT8 beside float.")
    parser.add_argument("sentences", nargs="*", metavar="SENTENCE", help="English, in quotes")


def _add_calibrate(command: _Command) -> None:
    parser = command("calibrate", "Find the thresholds of a float model on sample sentences.")
    parser.add_argument("model", metavar="FLOAT_MODEL", help="a Marian folder, or one of ours")
    parser.add_argument("--data", required=True, metavar="SOURCE", help="one sentence a line")
    parser.add_argument(
        "--targets",
        metavar="FILE",
        help="their translations; by default the model's own greedy ones",
    )
    parser.add_argument("--mode", choices=_MODES, default="symmetric", help="default: symmetric")
    _add_output(parser, "DIR", required=True)


def _add_convert(command: _Command) -> None:
    parser = command("convert", "Make the INT8 model of a calibrated one.")
    parser.add_argument("model", metavar="DIR", help="a calibrated model")
    for name in ("--softmax", "--layer-norm"):
        parser.add_argument(
            name, choices=("float", "integer"), default="float", help="default: float"
        )
    _add_output(parser, "DIR", required=True)


def _add_translate(command: _Command) -> None:
    parser = command("translate", "Translate text: as many lines out as in, in their order.")
    parser.add_argument("model", metavar="MODEL", help="a Marian folder, or one of ours")
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="packed if it ends with .gz or .zst; default: stdin"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write, likewise; default: stdout"
    )
    anew = parser.add_mutually_exclusive_group()
    anew.add_argument("--force", action="store_true", help="replace what is there")
    anew.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier run into this output stopped, for whatever reason; begin it "
        "if there was none, and do nothing if it is finished",
    )
    _add_lines(parser)
    _add_search(parser)
    _add_batches(parser)


def _add_lines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input-format",
        choices=("text", "jsonl", "tsv"),
        default="text",
        help="text (default): a sentence a line; jsonl: a JSON object a line, which is written "
        "with the translation as one more entry; tsv: columns between tabs, without quotes; the "
        "translation is written after the last",
    )
    parser.add_argument(
        "--field",
        metavar="NAME_OR_NUMBER",
        help="what to translate. jsonl: an entry, default: text. tsv: a column, counted from 1 "
        "(default), or its name in the first line, which is a header then",
    )
    parser.add_argument(
        "--output-field",
        metavar="NAME",
        help="jsonl: the entry of the translation, which may replace one that is there. tsv with a "
        "header: the name of the new column. Default: translation",
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "copy", "empty"),
        default="stop",
        help="what becomes of a line that can't be translated, after it was reported by its "
        "number. stop (default): an error; what was written before is safe. copy: the source "
        "stands for the translation, and a line that can't be read is copied as it is. empty: an "
        "empty translation, and an empty line for one that can't be read",
    )


def _add_batches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sort",
        choices=("tokens", "words", "none"),
        default="tokens",
        help="in which order sentences of a window are begun; default: tokens, the most first",
    )
    parser.add_argument(
        "--window",
        type=_positive,
        default=2048,
        metavar="LINES",
        help="lines that are sorted together and then written; default: 2048",
    )


def _add_evaluate(command: _Command) -> None:
    parser = command("evaluate", "Measure BLEU, chrF, speed and memory.")
    parser.add_argument("model", metavar="MODEL", help="a Marian folder, or one of ours")
    parser.add_argument("--src", required=True, metavar="F", help="one sentence a line")
    parser.add_argument("--ref", required=True, metavar="F", help="its translations")
    parser.add_argument(
        "--record", action="store_true", help="write the scores into the model card of MODEL"
    )
    _add_search(parser)


def _add_bench(command: _Command) -> None:
    parser = command("bench", "Measure speed on this machine.")
    parser.add_argument("benchmark", choices=_BENCHMARKS)
    parser.add_argument(
        "--docs", metavar="DIR", help="of translate and corpus: write tables, JSON and a plot there"
    )
    corpus = parser.add_argument_group("of corpus alone")
    corpus.add_argument(
        "--lines", type=_positive, metavar="N", help="of the long file; default: 1000000"
    )
    corpus.add_argument(
        "--part",
        dest="parts",
        action="append",
        choices=("sorting", "streams", "files", "memory"),
        help="only this one; may be repeated",
    )
    only = parser.add_argument_group("of translate alone")
    only.add_argument(
        "--full", action="store_true", help="all cases and engines; goes on where it stopped"
    )
    only.add_argument(
        "--case",
        dest="cases",
        action="append",
        metavar="CASE",
        help="only this one, such as 'base beam4 b32 s2 27tok'; may be repeated",
    )
    only.add_argument(
        "--engine",
        dest="engines",
        action="append",
        metavar="ENGINE",
        help="only this one; likewise",
    )
    only.add_argument("--state", metavar="FILE", help="what was measured, to go on later")


def _add_report(command: _Command) -> None:
    parser = command("report", "Say what conversion or calibration did to each MatMul.")
    parser.add_argument("model", metavar="DIR", help="a converted or calibrated model")


def _add_output(parser: argparse.ArgumentParser, metavar: str, required: bool) -> None:
    default = "" if required else "; default: stdout"
    parser.add_argument(
        "-o", "--output", required=required, metavar=metavar, help="where to write" + default
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")


def _add_search(parser: argparse.ArgumentParser) -> None:
    for name, kind, default in (
        ("--beam-size", _positive, 4),
        ("--batch-size", _positive, 32),
        ("--max-length", _positive, 256),
        ("--length-penalty", _length_penalty, 1.0),
        ("--streams", _streams, "auto"),
    ):
        parser.add_argument(name, type=kind, default=default, help=f"default: {default}")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _length_penalty(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def _streams(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


if __name__ == "__main__":
    sys.exit(main())
