"""A translation Transformer of KerasHub's blocks, as people write one: it knows nothing of INT8."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import keras_hub
from keras import ops

PAD = 0


@dataclass(frozen=True)
class Sizes:
    """Of the model that is trained, unless told."""

    vocabulary: int = 4000
    length: int = 48
    width: int = 256
    hidden: int = 1024
    heads: int = 4
    depth: int = 3
    dropout: float = 0.1


class HubTranslator(keras.Model):
    """Encoder and decoder, one table of embeddings for both and for the output.

    Padding is id 0, which is also what the decoder is fed first.

    Args:
        sizes: See `Sizes`.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = asdict(sizes)
        parts = keras_hub.layers
        self.embedding = parts.ReversibleEmbedding(sizes.vocabulary, sizes.width)
        self.positions = parts.PositionEmbedding(sizes.length)
        block: dict[str, Any] = {
            "intermediate_dim": sizes.hidden,
            "num_heads": sizes.heads,
            "dropout": sizes.dropout,
        }
        self.encoder = [parts.TransformerEncoder(**block) for _ in range(sizes.depth)]
        self.decoder = [parts.TransformerDecoder(**block) for _ in range(sizes.depth)]

    def embed(self, ids: Any) -> Any:
        """Tokens and positions, `[batch, length, width]`."""
        x = self.embedding(ids) * self.sizes["width"] ** 0.5
        return x + self.positions(x)

    def encode(self, source: Any) -> Any:
        """States `[batch, source, width]` of source ids `[batch, source]`."""
        x, mask = self.embed(source), ops.not_equal(source, PAD)
        for block in self.encoder:
            x = block(x, padding_mask=mask)
        return x

    def decode(self, states: Any, source: Any, target: Any) -> Any:
        """Hidden states `[batch, target, width]` of target ids; each sees those before it."""
        x, mask = self.embed(target), ops.not_equal(source, PAD)
        for block in self.decoder:
            x = block(x, states, encoder_padding_mask=mask)
        return x

    def logits(self, hidden: Any) -> Any:
        """Of each token of the vocabulary."""
        return self.embedding(hidden, reverse=True)

    def next_logits(self, states: Any, source: Any, prefix: Any) -> Any:
        """Logits `[batch, vocabulary]` of the token after a prefix; a step of the search."""
        return self.logits(self.decode(states, source, prefix)[:, -1:])[:, 0]

    def call(self, inputs: Any) -> Any:
        """Logits `[batch, target, vocabulary]` of `{"source": ids, "target": ids}`."""
        states = self.encode(inputs["source"])
        return self.logits(self.decode(states, inputs["source"], inputs["target"]))


def build(sizes: Sizes) -> HubTranslator:
    """A model with weights."""
    model = HubTranslator(sizes)
    zeros = ops.zeros((1, 2), "int32")
    model({"source": zeros, "target": zeros})
    return model
