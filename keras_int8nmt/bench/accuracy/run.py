"""`bench accuracy`: everything on validation, the choice, and then once the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.accuracy.choice import freeze
from keras_int8nmt.bench.accuracy.corpora import Pairs
from keras_int8nmt.bench.accuracy.models import MODELS, Loader, find_model
from keras_int8nmt.bench.accuracy.options import STATE_FOLDER
from keras_int8nmt.bench.accuracy.recipes import FLOAT, RECIPES, Material, Recipe
from keras_int8nmt.bench.accuracy.report import write_docs
from keras_int8nmt.bench.accuracy.scoring import SEARCH, score_recipes
from keras_int8nmt.bench.accuracy.state import State
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.timing import machine
from keras_int8nmt.bench.translation.session import say

CALIBRATION_SENTENCES = 600


def run_accuracy(
    *,
    models: Sequence[str] = ("builtin",),
    test: bool = False,
    recipes: Sequence[str] = (),
    sentences: int | None = None,
    state: str | None = None,
    docs: str | None = None,
    known_models: Mapping[str, Loader] = MODELS,
    known_recipes: Sequence[Recipe] = RECIPES,
) -> dict[str, Any]:
    """Scores each recipe on validation, chooses, and with `test` scores all once on the test set.

    The test set is not opened before the choice is written, nor without `test`. What was measured
    is kept, so that the command goes on where it was interrupted.

    Args:
        models: Names of `known_models`, or folders of float models, with `@CORPUS` after them.
        test: Whether to score on the test sets, too.
        recipes: Names of these recipes and no others; the float model is always there.
        sentences: Most sentences of each set, evenly taken; None: all.
        state: Folder of what was measured; by default one in the working directory.
        docs: Folder for `benchmarks-accuracy.md`, and its figures. None: nothing is written.
        known_models: Loaders by name.
        known_recipes: What `recipes` chooses from; the first is the float model.

    Returns:
        `machine`, `rows` (a recipe on a set; see `scoring`), `choice`, `sets` and `search`.

    Raises:
        BenchError: for a recipe, model or corpus that is not there.
    """
    chosen = _chosen(recipes, known_recipes)
    kept = State(Path(state or STATE_FOLDER))
    found = [find_model(text, known_models) for text in models]
    if len({model.name for model in found}) < len(found):
        raise BenchError(f"Two models have one name: {', '.join(m.name for m in found)}.")
    sets: dict[str, dict[str, Any]] = {model.name: {} for model in found}
    materials = []
    rows: list[dict[str, Any]] = []
    for model in found:
        calibration = model.corpus.calibration(CALIBRATION_SENTENCES)
        valid = model.corpus.valid(sentences)
        sets[model.name] = {"calibration": _facts(calibration), "valid": _facts(valid)}
        material = Material(model, calibration.sources, partial(model.corpus.valid, sentences))
        materials.append(material)
        rows += score_recipes(chosen, material, kept, "valid", valid)
    choice = freeze(kept.folder, rows, any(kept.has_seen_test(m.identity) for m in found))
    say(f"chosen on validation: {choice['default']} alone, {choice['combination']} of all")
    if test:
        for material in materials:
            pairs = material.model.corpus.test(sentences)
            sets[material.model.name]["test"] = _facts(pairs)
            rows += score_recipes(chosen, material, kept, "test", pairs)
    figures: dict[str, Any] = {"machine": machine(), "rows": rows, "choice": choice}
    figures.update(sets=sets, search=SEARCH)
    if docs is not None:
        write_docs(Path(docs), figures)
    return figures


def _chosen(names: Sequence[str], recipes: Sequence[Recipe]) -> list[Recipe]:
    known = {recipe.name: recipe for recipe in recipes}
    for name in names:
        if name not in known:
            raise BenchError(f"There is no recipe {name!r}; choose of {'; '.join(known)}.")
    return [r for r in recipes if not names or r.name in names or r.name == FLOAT]


def _facts(pairs: Pairs) -> dict[str, Any]:
    return {"origin": pairs.origin, "sentences": len(pairs.sources)}
