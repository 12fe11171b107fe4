"""The built-in model as several test files use it: calibrated once, translated on both paths."""

from __future__ import annotations

import functools
import json

import keras
import numpy as np
from helpers.models import calibrate_on_sentences

from keras_int8nmt import MarianTokenizer, Translator, build_transformer
from keras_int8nmt.storage import builtin

# The layer path traces a graph for each Translator, which takes ten seconds for the built-in model
# and a third for a shallow one; what translates takes a twentieth of that.
SHORT = {"max_length": 20}


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


def load_shallow(quant: bool = True) -> keras.Model:
    """The built-in model with the first block alone on either side.

    Its weights and activations are a trained model's, its translations are not, and hardly one
    comes to an end before `max_length`: see `SHORT`.
    """
    config = json.loads((builtin.FOLDER / "config.json").read_text(encoding="utf-8"))
    model = build_transformer(quant, **{**config, "num_encoder_layers": 1, "num_decoder_layers": 1})
    with np.load(builtin.FOLDER / builtin.WEIGHTS_FILE, allow_pickle=False) as arrays:
        for weight in model.trainable_weights:
            weight.assign(arrays[builtin.weight_name(weight)].astype(np.float32))
    return model


@functools.cache
def calibrated_shallow(mode: str = "independent") -> keras.Model:
    """`load_shallow`, calibrated on 32 pairs; tests share it, read only."""
    pairs, _ = builtin.read_pairs()
    model = load_shallow()
    calibrate_on_sentences(model, tokenizer(), *zip(*pairs[:32], strict=True), mode=mode)
    return model


def share_graph(first: Translator, *others: Translator) -> None:
    """Lets Translators of one model and one search run the graph that the first one traces."""
    for other in others:
        assert other.model is first.model
        assert other.options == first.options
        other.graph_engine.search = first.graph_engine.search


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
