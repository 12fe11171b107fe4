"""`keras-int8nmt evaluate`: how good and fast a model is; of several also whether they differ."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_int8nmt.cli.opening import open_translator
from keras_int8nmt.cli.options import add_search, add_verbose, positive
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.evaluation.metrics import make_metrics
from keras_int8nmt.evaluation.test_sets import load_named_set
from keras_int8nmt.files.lines import read_pairs
from keras_int8nmt.storage.card import read_card, update_card
from keras_int8nmt.storage.recognition import recognise, search_defaults

if TYPE_CHECKING:
    from keras_int8nmt.evaluation.measure import Evaluation
    from keras_int8nmt.evaluation.significance import Comparison


class EvaluationRequestError(KerasInt8nmtError, ValueError):
    """What the user asked to evaluate does not fit together; the message says why."""


class EvaluationData(NamedTuple):
    """Sentences with their references, what to call them, and entries for the signatures."""

    sources: list[str]
    references: list[list[str]]
    name: str
    label: dict[str, str]


def add_options(parser: argparse.ArgumentParser) -> None:
    from keras_int8nmt.evaluation.significance import TESTS

    samples = ", ".join(f"{number} ({test})" for test, number in TESTS.items())
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="one of ours, Marian's, or another program's; of several the first is the baseline",
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
        choices=tuple(TESTS),
        help="sacreBLEU's paired bootstrap (default) or approximate randomization",
    )
    comparison.add_argument(
        "--samples", type=positive, metavar="N", help=f"of that; default: {samples}"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the scores into the model card of each MODEL"
    )
    add_search(parser)
    add_verbose(parser)


def run(
    models: list[str],
    src: str | None,
    ref: str | None,
    test_set: str | None,
    language_pair: str | None,
    baseline: str | None,
    paired: str | None,
    samples: int | None,
    record: bool,
    verbose: bool = False,
    **search: Any,
) -> dict[str, Any]:
    """Measures BLEU, chrF, TER, speed and memory; with several models also how they differ."""
    models = listed_models(models, baseline)
    check_test(models, paired, samples)
    data = read_data(src, ref, test_set, language_pair)
    for model in models:
        # Before hours are spent with the first one.
        recognise(model)
        if record:
            read_card(model)
    found, comparison = evaluate_models(
        models,
        data,
        lambda path: open_translator(path, search, verbose),
        paired=paired,
        samples=samples,
    )
    figures = {model: one.to_dict() for model, one in found.items()}
    for model, one in figures.items():
        if record:
            asked = search_defaults(model).resolved(search)
            update_card(model, {"bleu": {**one, "source": data.name, **asked}})
        if comparison is not None:
            print(model)
        print(format_evaluation(one) + "\n" * (comparison is not None))
    if comparison is None:
        return figures[models[0]]
    print(comparison.to_text())
    return {"systems": figures, "comparison": comparison.to_dict()}


def read_data(
    src: str | None, ref: str | None, test_set: str | None, language_pair: str | None
) -> EvaluationData:
    """From two files, or by the name of one of sacreBLEU's test sets.

    Raises:
        EvaluationRequestError: where both or neither are given, or half of one.
        TextFileError: see `read_pairs`.
        NamedSetError: see `load_named_set`.
    """
    files, names = (src, ref), (test_set, language_pair)
    if any(files) == any(names) or (any(files) and not all(files)):
        raise EvaluationRequestError(
            "give either --src and --ref, or a test set of sacreBLEU with -t and -l."
        )
    if test_set is not None:
        if language_pair is None:
            raise EvaluationRequestError(
                f"the test set {test_set!r} needs a language pair, such as -l en-de."
            )
        named = load_named_set(test_set, language_pair)
        try:
            make_metrics(named.references, named.label)
        except RuntimeError as error:
            # The tokenizers of some languages are extras of sacreBLEU.
            raise EvaluationRequestError(" ".join(str(error).split())) from error
        return EvaluationData(
            named.sources, named.references, f"{test_set} {language_pair}", named.label
        )
    if src is None or ref is None:
        raise EvaluationRequestError(f"-l {language_pair} needs a test set, such as -t wmt14.")
    sources, references = read_pairs(src, ref)
    return EvaluationData(sources, [references], Path(src).name, {})


def listed_models(models: list[str], baseline: str | None) -> list[str]:
    """The models to evaluate, the baseline first.

    Raises:
        EvaluationRequestError: for a model that is named twice.
    """
    listed = models if baseline is None else [baseline, *(m for m in models if m != baseline)]
    twice = sorted({m for m in listed if listed.count(m) > 1})
    if twice:
        raise EvaluationRequestError(f"{twice[0]} is named twice.")
    return listed


def check_test(models: list[str], paired: str | None, samples: int | None) -> None:
    """Raises EvaluationRequestError where the test that is asked for can't be made."""
    if len(models) < 2 and (paired is not None or samples is not None):
        option = "--paired" if paired is not None else "--samples"
        raise EvaluationRequestError(f"{option} compares two models or more; there is one.")
    if len(models) > 1:
        from keras_int8nmt.evaluation.significance import seed_of_tests

        try:
            seed_of_tests()
        except ValueError as error:
            raise EvaluationRequestError(str(error)) from error


def evaluate_models(
    models: list[str],
    data: EvaluationData,
    make_translator: Callable[[str], Any],
    *,
    paired: str | None = None,
    samples: int | None = None,
) -> tuple[dict[str, Evaluation], Comparison | None]:
    """Translates with one model after the other, and compares all with the first.

    Args:
        models: As they are given to `make_translator`, the baseline first.
        data: See `read_data`.
        make_translator: A model's `Translator`; none is kept when the next one is made.
        paired: "bs" or "ar"; None: the default, see `compare_systems`.
        samples: Likewise.

    Returns:
        The figures of each model, and the comparison where there are two or more.
    """
    from keras_int8nmt._progress import progress_bar
    from keras_int8nmt.evaluation.measure import evaluate, reset_peak_rss
    from keras_int8nmt.evaluation.significance import compare_systems

    figures, translations = {}, {}
    for model in models:
        reset_peak_rss()
        translator = make_translator(model)
        with progress_bar(len(data.sources), "translating") as bar:
            figures[model], translations[model] = evaluate(
                translator, data.sources, data.references, bar.update, data.label
            )
        del translator
    if len(models) < 2:
        return figures, None
    try:
        comparison = compare_systems(
            translations,
            data.references,
            samples=samples,
            label=data.label,
            **({} if paired is None else {"test": paired}),
        )
    except ValueError as error:
        raise EvaluationRequestError(str(error)) from error
    return figures, comparison


def format_evaluation(figures: Mapping[str, Any]) -> str:
    """The figures of one model, a line each."""
    shown = {
        "BLEU": f"{figures['bleu']:.2f}",
        "chrF": f"{figures['chrf']:.2f}",
        "TER": f"{figures['ter']:.2f}",
        **{f"of {name}": text for name, text in figures["signatures"].items()},
        "sentences": str(figures["sentences"]),
        "tokens/s": f"{figures['tokens_per_second']:.0f}",
        "seconds": f"{figures['seconds']:.1f}",
        "peak RSS": f"{figures['peak_rss_mb']:.0f} MB",
        "precision": f"{figures['precision']} ({figures['gemm']})",
    }
    return "\n".join(f"{name:10} {value}" for name, value in shown.items())
