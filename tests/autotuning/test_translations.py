"""`autotune` by BLEU: a layer whose INT8 is hopeless is found and put into float32."""

from __future__ import annotations

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest
from helpers.letters import (
    EOS,
    FIRST,
    LETTERS,
    PAD,
    START,
    LetterTokenizer,
    count_ties,
    random_texts,
)
from helpers.models import calibrate_on_sentences

from keras_int8nmt import (
    Translator,
    autotune,
    build_transformer,
)
from keras_int8nmt.autotuning.candidates import PLAIN, balanced_candidate, find_candidates
from keras_int8nmt.calibration import observers
from keras_int8nmt.models.plain import plain_model


def spoil(block):
    """Some columns inside the feed-forward part a thousand times as large, and back: the same
    function in float32. One scale for all of them leaves no code for the others, and the rows that
    undo it are lost among the weights.
    """
    kernel, bias, out = block.ffn_in.kernel, block.ffn_in.bias, block.ffn_out.kernel
    factors = np.where(np.arange(bias.shape[0]) % 8 == 0, 1000.0, 1.0).astype(np.float32)
    kernel.assign(kernel.numpy() * factors)
    bias.assign(bias.numpy() * factors)
    out.assign(out.numpy() / factors[:, None])


class SpacedTokenizer(LetterTokenizer):
    """Letters are words, so that BLEU counts them."""

    def decode(self, ids):
        return " ".join(super().decode(ids))


@functools.cache
def spoiled():
    """A small model with one spoiled layer, calibrated, and its own translations as references."""
    keras.utils.set_random_seed(3)
    model = build_transformer(
        source_vocabulary_size=FIRST + len(LETTERS),
        num_encoder_layers=1,
        num_decoder_layers=1,
        model_dim=32,
        num_heads=2,
        ffn_dim=64,
        max_length=24,
        pad_id=PAD,
        eos_id=EOS,
        start_id=START,
        tie_embeddings=False,
    )
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.2, weight.shape).astype(np.float32))
    spoil(model.encoder_blocks[0])
    tokenizer, sources = SpacedTokenizer(), random_texts(48)
    with Translator(plain_model(model), tokenizer, max_length=16) as translator:
        references = translator(sources)
    calibrate_on_sentences(model, tokenizer, sources, references, mode="naive")
    return model, tokenizer, sources, references


SPOILED = "transformer/encoder_block_0/ffn_out"


def with_8_bits(*candidates):
    """The same on every CPU: some take weights of 7 bits by default."""
    return [replace(c, convert_options={**c.convert_options, "weight_bits": 8}) for c in candidates]


def test_a_spoiled_layer_is_put_into_float32_and_nothing_else_is():
    model, tokenizer, sources, references = spoiled()
    # Random weights decide many a word by a hair, so the other layers' INT8 changes some.
    result = autotune(
        model,
        sources,
        references,
        tokenizer=tokenizer,
        tolerance=20.0,
        candidates=with_8_bits(PLAIN),
        search={"max_length": 16},
    )
    assert result.baseline == pytest.approx(100.0)
    assert result.trials[0].score < 5
    assert result.floats == [SPOILED]
    assert len(result.trials) < 8
    ranked = sorted(result.sensitivities.values())
    assert result.sensitivities[SPOILED] == ranked[-1] > 100 * ranked[-2]
    mixed = result.convert(model)
    fast, layers = (
        Translator(mixed, tokenizer, max_length=16, path=path).translate(sources)
        for path in ("fast", "layers")
    )
    assert count_ties(fast, layers) <= 1


def test_dynamic_scales_beside_another_candidate_are_searched_where_all_in_int8_is_too_lossy():
    model, tokenizer, sources, references = spoiled()
    result = autotune(
        model,
        sources,
        references,
        tokenizer=tokenizer,
        tolerance=0.5,
        candidates=with_8_bits(*find_candidates(["dynamic scales", "plain"])),
        search={"max_length": 16},
        budget=6,
    )
    int8 = result.convert(model)
    rows = int8.conversion_report.rows
    assert {row.name: row.precision for row in rows} == dict(result)


def test_a_balanced_candidate_leaves_the_observers_as_they_were():
    model, tokenizer, sources, _ = spoiled()
    before = [w.numpy() for _, o in observers(model) for w in o.variables]
    balanced = balanced_candidate(tokenizer, sources[:4])
    assert balanced.prepare(model) is not model
    after = [w.numpy() for _, o in observers(model) for w in o.variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    keys = [
        balanced_candidate(tokenizer, sources[:n], a).key for n, a in ((4, 0.5), (5, 0.5), (4, 0.9))
    ]
    assert keys[0] == balanced.key
    assert len(set(keys)) == 3


@pytest.mark.slow
def test_a_balanced_candidate_keeps_the_spoiled_layer_in_int8():
    model, tokenizer, sources, references = spoiled()
    before = [weight.numpy() for weight in model.trainable_weights]
    result = autotune(
        model,
        sources,
        references,
        tokenizer=tokenizer,
        # Random weights lose much even so; the search beyond this has tests of its own.
        tolerance=49.0,
        candidates=with_8_bits(PLAIN, balanced_candidate(tokenizer, sources[:16])),
        search={"max_length": 16},
    )
    assert result.candidate.name == "balanced"
    assert SPOILED not in result.floats
    assert len(result.trials) == 2
    plain, balanced = result.trials[:2]
    assert plain.score < 5 < 50 < balanced.score
    assert result.convert(model).conversion_report.precision in ("int8", "mixed")
    for weight, value in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
