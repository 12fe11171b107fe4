"""The built-in model as several test files use it: calibrated once, translated on both paths."""

from __future__ import annotations

import functools

import keras
from helpers.models import calibrate_on_sentences

from keras_int8nmt import MarianTokenizer, Translator
from keras_int8nmt.storage import builtin


@functools.cache
def tokenizer() -> MarianTokenizer:
    return MarianTokenizer(builtin.FOLDER)


@functools.cache
def calibrated() -> keras.Model:
    """Calibrated on its own pairs by mode independent; tests share it, read only."""
    pairs, _ = builtin.read_pairs()
    model = builtin.load_builtin()
    calibrate_on_sentences(model, tokenizer(), *zip(*pairs[:64], strict=True), mode="independent")
    return model


@functools.cache
def sentences() -> list[str]:
    first, second = builtin.read_pairs()
    return [source for source, _ in (second + first)]


def both(model, texts, **settings):
    """`(fast, layers)`, each a list of `[(tokens, score), ...]`."""
    found = []
    for path in ("fast", "layers"):
        with Translator(model, tokenizer(), path=path, **settings) as translator:
            assert translator.path == path
            results = translator.translate(texts)
        found.append([[(h.tokens, h.score) for h in r.hypotheses] for r in results])
    return found
