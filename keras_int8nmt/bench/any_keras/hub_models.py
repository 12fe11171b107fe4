"""Models of KerasHub with random weights: nothing is downloaded, and no preprocessor is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_int8nmt.bench.any_keras.subject import Subject, tokens

Inputs = Callable[[int, np.random.Generator], Any]


def hub_tutorial(
    vocabulary: int = 15000, length: int = 40, width: int = 256, hidden: int = 2048, heads: int = 8
) -> Subject:
    """A translation Transformer of KerasHub's layers, of the sizes of its tutorial."""
    import keras_hub

    parts = keras_hub.layers
    source = keras.Input((None,), name="encoder_inputs")
    encoded = parts.TransformerEncoder(intermediate_dim=hidden, num_heads=heads)(
        parts.TokenAndPositionEmbedding(vocabulary, length, width)(source)
    )
    target = keras.Input((None,), name="decoder_inputs")
    states = keras.Input((None, width), name="decoder_state_inputs")
    x = parts.TransformerDecoder(intermediate_dim=hidden, num_heads=heads)(
        decoder_sequence=parts.TokenAndPositionEmbedding(vocabulary, length, width)(target),
        encoder_sequence=states,
    )
    x = keras.layers.Dense(vocabulary, activation="softmax")(keras.layers.Dropout(0.5)(x))
    decoder = keras.Model([target, states], x)
    model = keras.Model([source, target], decoder([target, encoded]))

    def inputs(batch: int, rng: np.random.Generator) -> Any:
        return [tokens(rng, batch, length, vocabulary).astype(np.float32) for _ in range(2)]

    return Subject(model, inputs)


def bert(vocabulary: int = 8000, length: int = 64, **sizes: Any) -> Subject:
    """A classifier over BERT."""
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary, max_sequence_length=length, **_small(sizes)
    )
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=3, preprocessor=None)
    return Subject(model, _padded(vocabulary, length, segments=True))


def distil_bert(vocabulary: int = 8000, length: int = 64, **sizes: Any) -> Subject:
    """A classifier over DistilBERT."""
    import keras_hub

    backbone = keras_hub.models.DistilBertBackbone(
        vocabulary, max_sequence_length=length, **_small(sizes)
    )
    model = keras_hub.models.DistilBertTextClassifier(backbone, num_classes=3, preprocessor=None)
    return Subject(model, _padded(vocabulary, length))


def gpt2(vocabulary: int = 8000, length: int = 64, new_tokens: int = 0, **sizes: Any) -> Subject:
    """GPT-2 with its head, called once, or with its own greedy `generate` for `new_tokens`."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary, max_sequence_length=length, **_small(sizes)
    )
    model = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
    inputs = _padded(vocabulary, length)
    if not new_tokens:
        return Subject(model, inputs)

    def prompts(batch: int, rng: np.random.Generator) -> Any:
        given = inputs(batch, rng)
        given["padding_mask"][:, -new_tokens:] = 0
        return {name: ids * given["padding_mask"] for name, ids in given.items()}

    def generate(model: Any) -> Callable[[Any], Any]:
        # The copy of a model is not compiled, and a sampler is what compiling chooses.
        model.compile(sampler="greedy")
        return lambda given: model.generate(dict(given), stop_token_ids=None)["token_ids"]

    return Subject(model, prompts, generate)


def bart(vocabulary: int = 8000, length: int = 64, **sizes: Any) -> Subject:
    """The encoder and decoder of BART."""
    import keras_hub

    model = keras_hub.models.BartBackbone(vocabulary, max_sequence_length=length, **_small(sizes))
    return Subject(model, _pairs(vocabulary, length))


def t5(vocabulary: int = 8000, length: int = 64, **sizes: Any) -> Subject:
    """The encoder and decoder of T5."""
    import keras_hub

    sizes = _small(sizes)
    key_value = sizes["hidden_dim"] // sizes["num_heads"]
    model = keras_hub.models.T5Backbone(vocabulary, key_value_dim=key_value, **sizes)
    return Subject(model, _pairs(vocabulary, length))


def _small(sizes: dict[str, Any]) -> dict[str, Any]:
    small = {"num_layers": 2, "num_heads": 8, "hidden_dim": 512, "intermediate_dim": 2048}
    return {**small, **sizes}


def _padded(vocabulary: int, length: int, segments: bool = False) -> Inputs:
    def inputs(batch: int, rng: np.random.Generator) -> Any:
        ids = tokens(rng, batch, length, vocabulary)
        given = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
        return {**given, "segment_ids": np.zeros_like(ids)} if segments else given

    return inputs


def _pairs(vocabulary: int, length: int) -> Inputs:
    one = _padded(vocabulary, length)

    def inputs(batch: int, rng: np.random.Generator) -> Any:
        sides = ((side, one(batch, rng)) for side in ("encoder", "decoder"))
        return {f"{side}_{name}": ids for side, given in sides for name, ids in given.items()}

    return inputs
