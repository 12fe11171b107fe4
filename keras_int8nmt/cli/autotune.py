"""`keras-int8nmt autotune`: a calibrated model and sentences in, a policy for `convert` out."""

from __future__ import annotations

import argparse
from typing import Any

from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.cli.opening import check_calibrated, open_with_tokenizer
from keras_int8nmt.cli.options import (
    add_output,
    add_search,
    confidence,
    mode,
    not_negative,
    positive,
)
from keras_int8nmt.files.lines import check_writable_file, read_pairs, write_lines


def add_options(parser: argparse.ArgumentParser) -> None:
    from keras_int8nmt.autotuning.candidates import CANDIDATES, KNOWN
    from keras_int8nmt.autotuning.chance import CONFIDENCE
    from keras_int8nmt.autotuning.search import BUDGET, TOLERANCE

    parser.add_argument("model", metavar="DIR", help="a calibrated model")
    parser.add_argument("--src", required=True, metavar="F", help="one sentence a line")
    parser.add_argument("--ref", required=True, metavar="F", help="its translations")
    parser.add_argument(
        "--tolerance",
        type=not_negative,
        default=TOLERANCE,
        metavar="BLEU",
        help="how much less than the float model is good enough; default: %(default)s",
    )
    parser.add_argument(
        "--confidence",
        type=confidence,
        default=CONFIDENCE,
        metavar="PART",
        help="how sure it must be that a loss beyond that is none of chance, one-sided; 0.5: every "
        "loss counts as it is measured. Default: %(default)s",
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
        help=f"a way of conversion to try: {', '.join(c.name for c in KNOWN)}; may be repeated. "
        f"Default: {', '.join(c.name for c in CANDIDATES)}",
    )
    parser.add_argument(
        "--budget",
        type=positive,
        default=BUDGET,
        metavar="N",
        help="most evaluations of converted models; default: %(default)s",
    )
    parser.add_argument("--state", metavar="FILE", help="what was measured, to go on later")
    add_output(parser, "FILE", required=True)
    add_search(parser)


def run(
    model: str,
    src: str,
    ref: str,
    output: str,
    force: bool,
    tolerance: float,
    confidence: float,
    modes: list[str] | None,
    candidates: list[str] | None,
    budget: int,
    state: str | None,
    **search: Any,
) -> dict[str, Any]:
    """Finds which MatMuls of a calibrated model to convert and writes the policy."""
    from keras_int8nmt.autotuning.candidates import CANDIDATES, find_candidates

    check_writable_file(output, force)
    try:
        chosen = CANDIDATES if candidates is None else find_candidates(dict.fromkeys(candidates))
    except ValueError as error:
        raise UsageError(str(error)) from error
    sources, references = read_pairs(src, ref)
    loaded, tokenizer, card = open_with_tokenizer(model)

    from keras_int8nmt.autotuning.tune import autotune
    from keras_int8nmt.storage.state import state_of

    if state_of(loaded) == "converted":
        raise UsageError(f"{model} is converted already.")
    if any(one.convert_options.get("activations") != "dynamic" for one in chosen):
        check_calibrated(model, loaded)
    result = autotune(
        loaded,
        sources,
        references,
        tokenizer=tokenizer,
        candidates=chosen,
        tolerance=tolerance,
        confidence=confidence,
        modes=modes,
        unsigned=card.get("unsigned", True),
        budget=budget,
        state=state,
        search=search,
        progress=True,
    )
    write_lines(output, [result.to_json()])
    print(result.to_text())
    return result.to_dict()
