"""`keras-int8nmt demo`: the built-in model in float and INT8, side by side."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_int8nmt._tables import format_table
from keras_int8nmt.cli.opening import start_keras

if TYPE_CHECKING:
    from keras_int8nmt.evaluation.measure import Evaluation


_SHOWN = 12
_SEARCH: dict[str, Any] = {"beam_size": 4, "batch_size": 32}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sentences", nargs="*", metavar="SENTENCE", help="English, in quotes")


def run(sentences: list[str]) -> dict[str, Any]:
    """Calibrates and converts the built-in model, compares it with its float form, prints both.

    Args:
        sentences: English sentences to translate too.

    Returns:
        `float` and `int8` (as `evaluate` gives them, with `model_mb`), `samples` and `sentences`
        (`source`, `float`, `int8`).
    """
    start_keras()

    from keras_int8nmt._progress import progress_bar
    from keras_int8nmt.calibration.from_sentences import calibrate
    from keras_int8nmt.conversion.converter import convert
    from keras_int8nmt.evaluation.measure import evaluate
    from keras_int8nmt.storage import builtin as builtin_model
    from keras_int8nmt.thresholds.modes import DEFAULT_MODE
    from keras_int8nmt.tokenizers.marian import MarianTokenizer
    from keras_int8nmt.translation.translator import Translator

    print(
        "The built-in model: English to German, 7.2 M parameters, trained on Tatoeba (CC BY 2.0)."
    )
    tokenizer = MarianTokenizer(builtin_model.FOLDER)
    sample, unseen = builtin_model.read_pairs()
    model = builtin_model.load_builtin()
    calibrate(model, tokenizer, [s for s, _ in sample], [t for _, t in sample], progress=True)
    models = {"float": builtin_model.load_builtin(quant=False), "int8": convert(model)}
    print(
        f"Calibrated on {len(sample)} sentence pairs ({DEFAULT_MODE}), converted; now "
        f"{len(unseen)} other sentences, beam {_SEARCH['beam_size']}, batch "
        f"{_SEARCH['batch_size']}.\n"
    )
    translators = {n: Translator(m, tokenizer, **_SEARCH) for n, m in models.items()}
    figures, texts = {}, {}
    for name, translator in translators.items():
        with progress_bar(len(unseen), name) as bar:
            figures[name], texts[name] = evaluate(
                translator, [s for s, _ in unseen], [t for _, t in unseen], bar.update
            )
    sizes = {name: _saved_mb(m) for name, m in models.items()}
    print(format_figures(figures, sizes) + "\n")
    step = len(unseen) // _SHOWN
    sources = [s for s, _ in unseen]
    samples = side_by_side(
        sources[::step][:_SHOWN], *(texts[n][::step][:_SHOWN] for n in ("float", "int8"))
    )
    print(format_samples(samples))
    own = side_by_side(sentences, *(translators[n](sentences) for n in ("float", "int8")))
    if own:
        print("\nYour sentences:\n\n" + format_samples(own))
    result: dict[str, Any] = {
        name: {**figures[name].to_dict(), "model_mb": sizes[name]} for name in models
    }
    return {**result, "samples": samples, "sentences": own}


def _saved_mb(model: Any) -> float:
    """Size of the file that Keras saves `model` in, in 10^6 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.stat().st_size / 1e6


def side_by_side(sources: list[str], floats: list[str], int8s: list[str]) -> list[dict[str, str]]:
    """Sentences and both translations as one list."""
    rows = zip(sources, floats, int8s, strict=True)
    return [{"source": s, "float": f, "int8": i} for s, f, i in rows]


def format_samples(samples: list[dict[str, str]]) -> str:
    """Each sentence with its translations; one line for both where they are equal."""
    blocks = []
    for sample in samples:
        if sample["float"] == sample["int8"]:
            lines = [f"  float = INT8  {sample['float']}"]
        else:
            lines = [f"  float         {sample['float']}", f"  INT8          {sample['int8']}"]
        blocks.append("\n".join([sample["source"], *lines]))
    return "\n".join(blocks)


def format_figures(figures: dict[str, Evaluation], sizes: dict[str, float]) -> str:
    """The table of quality, speed and size."""
    plain, int8 = figures["float"], figures["int8"]

    def row(name: str, of_float: float, of_int8: float, spec: str, compared: str) -> list[str]:
        return [name, format(of_float, spec), format(of_int8, spec), compared]

    def times(ratio: float) -> str:
        return f"{ratio:.2f}x"

    speeds = plain.tokens_per_second, int8.tokens_per_second
    return format_table(
        [
            ["", f"float ({plain.gemm})", f"INT8 ({int8.gemm})", "INT8 to float"],
            row("BLEU", plain.bleu, int8.bleu, ".2f", f"{int8.bleu - plain.bleu:+.2f}"),
            row("chrF", plain.chrf, int8.chrf, ".2f", f"{int8.chrf - plain.chrf:+.2f}"),
            row("tokens/s", *speeds, ".0f", times(speeds[1] / speeds[0])),
            row(
                "model file, MB",
                sizes["float"],
                sizes["int8"],
                ".1f",
                times(sizes["int8"] / sizes["float"]),
            ),
        ]
    )
