"""`keras-int8nmt bench`: speed on this machine, or what INT8 costs in BLEU."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.cli.opening import start_keras
from keras_int8nmt.cli.options import positive

# Options that may be repeated: their words in the singular, by the arguments that they fill.
_WORDS = {
    "cases": "case",
    "engines": "engine",
    "parts": "part",
    "models": "model",
    "recipes": "recipe",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    from keras_int8nmt.bench.accuracy.options import STATE_FOLDER
    from keras_int8nmt.bench.benchmarks import BENCHMARKS
    from keras_int8nmt.bench.peers.table import STATE_FOLDER as PEERS_FOLDER

    parser.add_argument("benchmark", choices=tuple(BENCHMARKS))
    parser.add_argument(
        "--docs",
        metavar="DIR",
        help="of translate, keras, peers, startup, corpus and accuracy: write tables, JSON, "
        "plots there",
    )
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="measure nothing: write what --docs writes anew, of the figures that are kept there",
    )
    parser.add_argument(
        "--state",
        metavar="PATH",
        help="what was measured, to go on later: a file of translate, a folder of accuracy "
        f"(default: {STATE_FOLDER}), that of the model of peers (default: {PEERS_FOLDER})",
    )
    _add_accuracy(parser.add_argument_group("of accuracy, the last two of peers"))
    _add_corpus(parser.add_argument_group("of corpus alone"))
    _add_translate(
        parser.add_argument_group("of translate; the first two of keras, the second of peers")
    )


def _add_accuracy(group: argparse._ArgumentGroup) -> None:
    from keras_int8nmt.bench.accuracy.corpora import CORPORA, DEFAULT_CORPUS

    others = [name for name in CORPORA if name != DEFAULT_CORPUS]
    _add_repeated(
        group,
        "models",
        "MODEL[@CORPUS]",
        "a folder with a float model, or 'builtin' (default), and its corpus: "
        f"{DEFAULT_CORPUS} (default), {', '.join(others[:-1])} or {others[-1]}; may be repeated",
    )
    _add_repeated(
        group,
        "recipes",
        "RECIPE",
        "only this one, such as 'naive, policy paper'; may be repeated",
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


def _add_corpus(group: argparse._ArgumentGroup) -> None:
    from keras_int8nmt.bench.corpus.options import LINES, PARTS

    group.add_argument(
        "--lines", type=positive, metavar="N", help=f"of the long file; default: {LINES}"
    )
    _add_repeated(group, "parts", None, "only this one; may be repeated", choices=PARTS)


def _add_translate(group: argparse._ArgumentGroup) -> None:
    _add_repeated(
        group,
        "cases",
        "CASE",
        "only this one, such as 'base beam4 b32 s2 27tok', or of keras 'bert'; may be repeated",
    )
    _add_repeated(group, "engines", "ENGINE", "only this one; likewise")
    group.add_argument(
        "--full", action="store_true", help="all cases and engines; goes on where it stopped"
    )
    group.add_argument(
        "--isa",
        metavar="SET",
        help="hold every engine to an instruction set, such as avx2, where the CPU has better ones",
    )


def _add_repeated(
    group: argparse._ArgumentGroup, name: str, metavar: str | None, text: str, **settings: Any
) -> None:
    group.add_argument(
        f"--{_WORDS[name]}", dest=name, action="append", metavar=metavar, help=text, **settings
    )


def run(benchmark: str, redraw: bool = False, **options: Any) -> dict[str, Any]:
    """Measures speed on this machine, or accuracy; each benchmark has options of its own."""
    from keras_int8nmt.bench.benchmarks import BENCHMARKS
    from keras_int8nmt.bench.rows import format_rows

    chosen = BENCHMARKS[benchmark]
    given = {name: value for name, value in options.items() if value}
    for name in given:
        if name not in chosen.options:
            having = [key for key, one in BENCHMARKS.items() if name in one.options]
            raise UsageError(
                f"only the benchmark {' and '.join(having)} has the option "
                f"--{_WORDS.get(name, name)}."
            )
    docs = given.get("docs")
    if docs is not None and Path(docs).exists() and not Path(docs).is_dir():
        raise UsageError(f"--docs: {docs!r} is no folder.")
    if redraw:
        _check_redraw(given)
    given = chosen.checked(given)
    if redraw:
        start_keras()
        figures = chosen.redraw(given["docs"], given.get("isa"))
        print(f"written anew: the documents of {benchmark} in {given['docs']}")
        return figures
    if "isa" in given:
        from keras_int8nmt.bench.translation.isa import force

        # The native library, which is loaded next, takes a set once.
        force(given["isa"])
    start_keras()
    figures = chosen.load()(**given)
    print("\n".join(f"{key}: {value}" for key, value in figures["machine"].items()))
    print(format_rows(figures["rows"]))
    return figures


def _check_redraw(given: dict[str, Any]) -> None:
    others = [name for name in given if name not in ("docs", "isa")]
    if "docs" not in given:
        raise UsageError("--redraw writes what --docs says: give --docs DIR.")
    if others:
        raise UsageError(
            f"--redraw measures nothing: --{_WORDS.get(others[0], others[0])} is for what does."
        )
