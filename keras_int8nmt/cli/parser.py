"""The commands of `keras-int8nmt` and their options, as `argparse` reads them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from keras_int8nmt._version import __version__
from keras_int8nmt.cli.options import (
    add_output,
    add_search,
    mode,
    not_negative,
    positive,
    share,
    weight_bits,
)
from keras_int8nmt.thresholds.modes import DEFAULT_MODE

BENCHMARKS = ("gemm", "gather", "translate", "profile", "paper", "corpus", "accuracy")


def parser() -> argparse.ArgumentParser:
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
    _add_autotune(command)
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
        help="their translations, which the decoder is fed",
    )
    parser.add_argument(
        "--feed",
        choices=("greedy", "beam"),
        help="without --targets: the decoder is fed the model's own greedy translations (default), "
        "or observed in each step of a beam search",
    )
    parser.add_argument(
        "--beam-size", type=positive, metavar="N", help="of --feed beam alone; default: 4"
    )
    parser.add_argument(
        "--mode",
        type=mode,
        default=DEFAULT_MODE,
        help="how thresholds are chosen. naive: smallest and largest value; symmetric, independent "
        "(default), conjugate: KL divergence, as in the paper; mse: the least squared error; "
        "percentile: 99.99 per cent, or as many as percentile:NUMBER says; entropy: as TensorRT",
    )
    parser.add_argument(
        "--unsigned",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether what is never negative, as after ReLU, is uint8 (default) or int8",
    )
    parser.add_argument(
        "--balance",
        type=share,
        nargs="?",
        const=0.5,
        metavar="ALPHA",
        help="calibrate, even out the channels of activations and weights (SmoothQuant), calibrate "
        "again. ALPHA: from 0 to 1, how much goes to the weights; default: 0.5",
    )
    add_output(parser, "DIR", required=True)


def _add_autotune(command: _Command) -> None:
    parser = command("autotune", "Find the fastest precision of each MatMul within a tolerance.")
    parser.add_argument("model", metavar="DIR", help="a calibrated model")
    parser.add_argument("--src", required=True, metavar="F", help="one sentence a line")
    parser.add_argument("--ref", required=True, metavar="F", help="its translations")
    parser.add_argument(
        "--tolerance",
        type=not_negative,
        default=0.1,
        metavar="BLEU",
        help="how much less than the float model is good enough; default: 0.1",
    )
    parser.add_argument(
        "--mode",
        dest="modes",
        action="append",
        type=mode,
        metavar="MODE",
        help="thresholds to try; may be repeated. Default: those of the model as they are",
    )
    parser.add_argument(
        "--candidate",
        dest="candidates",
        action="append",
        metavar="NAME",
        help="a way of conversion to try, such as plain (the default) or bias correction; may be "
        "repeated",
    )
    parser.add_argument(
        "--budget",
        type=positive,
        default=60,
        metavar="N",
        help="most evaluations of converted models; default: 60",
    )
    parser.add_argument("--state", metavar="FILE", help="what was measured, to go on later")
    add_output(parser, "FILE", required=True)
    add_search(parser)


def _add_convert(command: _Command) -> None:
    parser = command("convert", "Make the INT8 model of a calibrated one.")
    parser.add_argument(
        "model", metavar="DIR", help="a calibrated model; with dynamic scales any float one"
    )
    parser.add_argument(
        "--weight-bits",
        type=weight_bits,
        metavar="BITS",
        help="8; 7, faster on CPUs without VNNI; or auto (default): what suits this CPU",
    )
    parser.add_argument(
        "--activations",
        choices=("static", "dynamic"),
        default="static",
        help="where the scales of activations come from. static (default): calibration. dynamic: "
        "each row's own largest value, found when it is multiplied; no calibration is needed",
    )
    parser.add_argument(
        "--weights",
        choices=("per_channel", "per_tensor"),
        default="per_channel",
        help="scales of the int8 weights: one for each output channel (default), or one for all",
    )
    parser.add_argument(
        "--softmax",
        choices=("float", "integer"),
        default="float",
        help="of attention; integer: in whole numbers, as I-BERT; default: float",
    )
    parser.add_argument(
        "--layer-norm",
        choices=("float", "integer"),
        default="float",
        help="likewise of LayerNorm",
    )
    parser.add_argument(
        "--bias-correction",
        action="store_true",
        help="take the mean error of the int8 weights on the calibration data off the biases",
    )
    parser.add_argument(
        "--policy",
        metavar="NAME_OR_FILE",
        help="which MatMuls become INT8: int8 (all, the default), paper, float32, or a file: what "
        "autotune wrote, or JSON from names of MatMuls to int8 or float32",
    )
    add_output(parser, "DIR", required=True)


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
    add_search(parser)
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
        type=positive,
        default=2048,
        metavar="LINES",
        help="lines that are sorted together and then written; default: 2048",
    )


def _add_evaluate(command: _Command) -> None:
    parser = command(
        "evaluate",
        "Measure BLEU, chrF, TER, speed and memory; of several models also whether they differ.",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a Marian folder, or one of ours; of several the first is the baseline",
    )
    data = parser.add_argument_group("sentences, from files or by name")
    data.add_argument("--src", metavar="F", help="one sentence a line")
    data.add_argument("--ref", metavar="F", help="its translations")
    data.add_argument(
        "-t", "--test-set", metavar="NAME", help="a test set of sacreBLEU, such as wmt14"
    )
    data.add_argument("-l", "--language-pair", metavar="PAIR", help="of it, such as en-de")
    comparison = parser.add_argument_group("of several models")
    comparison.add_argument(
        "--baseline", metavar="MODEL", help="what the others are compared with; default: the first"
    )
    comparison.add_argument(
        "--paired",
        choices=("bs", "ar"),
        help="sacreBLEU's paired bootstrap (default) or approximate randomization",
    )
    comparison.add_argument(
        "--samples", type=positive, metavar="N", help="of that; default: 1000 (bs), 10000 (ar)"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the scores into the model card of each MODEL"
    )
    add_search(parser)


def _add_bench(command: _Command) -> None:
    parser = command("bench", "Measure speed on this machine, or what INT8 costs in BLEU.")
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument(
        "--docs",
        metavar="DIR",
        help="of translate, corpus and accuracy: write tables, JSON and a plot there",
    )
    parser.add_argument(
        "--state",
        metavar="PATH",
        help="what was measured, to go on later: a file of translate, a folder of accuracy "
        "(default: bench-accuracy)",
    )
    _add_bench_accuracy(parser.add_argument_group("of accuracy alone"))
    corpus = parser.add_argument_group("of corpus alone")
    corpus.add_argument(
        "--lines", type=positive, metavar="N", help="of the long file; default: 1000000"
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


def _add_bench_accuracy(group: Any) -> None:
    group.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="MODEL[@CORPUS]",
        help="a folder with a float model, or 'builtin' (default), and its corpus: tatoeba-ende "
        "(default), tatoeba-enfr, multi30k-ende, multi30k-enfr or package; may be repeated",
    )
    group.add_argument(
        "--recipe",
        dest="recipes",
        action="append",
        metavar="RECIPE",
        help="only this one, such as 'naive, policy paper'; may be repeated",
    )
    group.add_argument(
        "--sentences", type=positive, metavar="N", help="at most, of each set; default: all"
    )
    group.add_argument(
        "--test",
        action="store_true",
        help="when all are scored on validation and the choice is written, score them on the test "
        "set, too",
    )


def _add_report(command: _Command) -> None:
    parser = command("report", "Say what conversion or calibration did to each MatMul.")
    parser.add_argument("model", metavar="DIR", help="a calibrated model, or a converted one")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="also write one HTML page with all of it: of a calibrated model the histograms and "
        "thresholds of all tensors, and what conversion makes of it",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument(
        "--converted",
        metavar="DIR",
        help="of a calibrated model: the INT8 model that was made of it; by default it is made",
    )
    parser.add_argument("--src", metavar="F", help="sentences to compare translations of")
    parser.add_argument("--ref", metavar="F", help="their translations")
    add_search(parser)
