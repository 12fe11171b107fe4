"""A recipe on a set of sentences: its result, and the row against the float model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt import native
from keras_int8nmt._progress import progress_bar
from keras_int8nmt._version import __version__
from keras_int8nmt.bench.accuracy.corpora import Pairs
from keras_int8nmt.bench.accuracy.recipes import FLOAT, Material, Recipe, make_model
from keras_int8nmt.bench.accuracy.state import Key, Result, State
from keras_int8nmt.bench.translation.session import say
from keras_int8nmt.evaluation.bootstrap import compare, sentence_statistics
from keras_int8nmt.evaluation.measure import score
from keras_int8nmt.translation.translator import Translator

SEARCH: dict[str, Any] = {"beam_size": 4, "batch_size": 32, "length_penalty": 1.0}


def score_recipes(
    recipes: Sequence[Recipe], material: Material, state: State, part: str, pairs: Pairs
) -> list[dict[str, Any]]:
    """The rows of a model on one set.

    Args:
        recipes: The first is the float model, which the others are compared with.
        material: The model and its calibration sentences.
        state: Of earlier runs, which are not repeated.
        part: "valid" or "test".
        pairs: That set.
    """
    made_of = {
        "release": __version__,
        "library": _library(),
        "model": material.model.identity,
        "calibration": Pairs(material.sentences, [], "").identity(),
    }
    scored = {"part": part, "pairs": pairs.identity(), "search": SEARCH}
    rows: list[dict[str, Any]] = []
    base: tuple[Result, np.ndarray] | None = None
    for recipe in recipes:
        name = f"{material.model.name}, {part}"
        key = {**made_of, "recipe": recipe.identity()}
        result = state.result({**key, **scored})
        if result is None:
            say(f"{name}: {recipe.name}")
            result = _measure(recipe, material, state, key, pairs)
            state.add({**key, **scored}, result)
        else:
            say(f"{name}: {recipe.name}: measured before")
        found = result, sentence_statistics(result.translations, pairs.references)
        base = base or found
        row = _row(recipe, found, base)
        rows.append({**row, "case": name, "model": material.model.name, "part": part})
    return rows


def _measure(recipe: Recipe, material: Material, state: State, key: Key, pairs: Pairs) -> Result:
    names = material.model.name, recipe.name
    model = state.model(key, names, lambda: make_model(recipe, material))
    with (
        Translator(model, material.tokenizer, **SEARCH) as translator,
        progress_bar(len(pairs.sources), recipe.name) as bar,
    ):
        results = translator.translate(pairs.sources, bar.update)
        path = translator.path
    translations = [result.text for result in results]
    scores = score(translations, pairs.references)
    report = getattr(model, "conversion_report", None)
    matmuls = [] if report is None else report.rows
    floats = Counter(row.reason for row in matmuls if row.precision == "float32")
    return Result(
        bleu=scores.bleu,
        chrf=scores.chrf,
        signature=scores.signature,
        path=path,
        int8=len(matmuls) - floats.total(),
        matmuls=len(matmuls),
        floats=dict(floats),
        translations=translations,
    )


def _row(
    recipe: Recipe, found: tuple[Result, np.ndarray], base: tuple[Result, np.ndarray]
) -> dict[str, Any]:
    result, reference = found[0], base[0]
    difference = compare(found[1], base[1])
    pairs = zip(result.translations, reference.translations, strict=True)
    differing = sum(a != b for a, b in pairs)
    note = (
        ""
        if recipe.name == FLOAT
        else (
            f"{difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}] "
            f"p={difference.p:.3f}, {differing} lines differ, {result.int8}/{result.matmuls} INT8"
        )
    )
    return {
        "name": recipe.name,
        "ours": result.bleu,
        "peer": reference.bleu,
        "unit": "BLEU",
        "ratio": None,
        "spread": None,
        "note": note,
        "mode": recipe.mode,
        "recipe": recipe.identity(),
        "may_be_default": recipe.may_be_default,
        "bleu": result.bleu,
        "chrf": result.chrf,
        "chrf_difference": result.chrf - reference.chrf,
        "signature": result.signature,
        "difference": difference.value,
        "interval": [difference.low, difference.high],
        "p": difference.p,
        "differing": differing,
        "sentences": len(result.translations),
        "path": result.path,
        "int8": result.int8,
        "matmuls": result.matmuls,
        "floats": result.floats,
    }


def _library() -> str | None:
    """Which build of the native library computes."""
    path = native.info().get("library")
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
