"""What is chosen, on the validation sets alone, and frozen before a test set is opened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from keras_int8nmt.bench.accuracy.recipes import FLOAT

CHOICE_FILE = "choice.json"


def choose(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The recipes to recommend.

    Args:
        rows: Of the validation sets: all recipes of all models.

    Returns:
        - `default`: of the recipes that may be it, the one whose BLEU is best against float, as a
          mean over the models; chrF and then the order of the recipes break a tie.
        - `combination`: the best of all recipes in which every MatMul is INT8.
        - `best`: the latter for each model by itself.
        - `among`: the recipes there were; `means`: their mean differences to float.

        None stands where no recipe may be chosen.
    """
    names = list(dict.fromkeys(row["name"] for row in rows if row["name"] != FLOAT))
    models = list(dict.fromkeys(row["model"] for row in rows))
    by_name = {name: [row for row in rows if row["name"] == name] for name in names}
    means = {name: fmean(row["difference"] for row in by_name[name]) for name in names}
    chrf = {name: fmean(row["chrf_difference"] for row in by_name[name]) for name in names}
    whole = [name for name in names if all(map(_all_int8, by_name[name]))]
    ready = [name for name in whole if all(row["may_be_default"] for row in by_name[name])]

    def best(candidates: Sequence[str], model: str | None = None) -> str | None:
        # `max` gives the first of equals.
        if model is None:
            return max(candidates, key=lambda name: (means[name], chrf[name]), default=None)
        own = {row["name"]: row for row in rows if row["model"] == model}
        return max(
            candidates,
            key=lambda name: (own[name]["difference"], own[name]["chrf_difference"]),
            default=None,
        )

    return {
        "default": best(ready),
        "combination": best(whole),
        "best": {model: best(whole, model) for model in models},
        "among": names,
        "means": means,
    }


def freeze(folder: Path, rows: Sequence[dict[str, Any]], seen: bool) -> dict[str, Any]:
    """Writes the choice into `folder`, or gives the one that is there and may not change.

    Args:
        folder: That of the state.
        rows: See `choose`.
        seen: Whether a test set was scored already: then the choice of that time stands, and what
            was added later is not among it.
    """
    path = folder / CHOICE_FILE
    if seen and path.is_file():
        frozen: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return frozen
    choice = choose(rows)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(choice, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    return choice


def _all_int8(row: dict[str, Any]) -> bool:
    return row["matmuls"] > 0 and row["int8"] == row["matmuls"]
