"""`build_transformer`, and weights from one of its models to another."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.learned_threshold import WEIGHT_NAME
from keras_int8nmt.models.transformer import Transformer

__all__ = ["Transformer", "build_transformer", "copy_weights"]


def build_transformer(
    quant: bool = True,
    *,
    source_vocabulary_size: int = 32000,
    target_vocabulary_size: int | None = None,
    num_encoder_layers: int = 6,
    num_decoder_layers: int = 6,
    model_dim: int = 512,
    num_heads: int = 8,
    ffn_dim: int = 2048,
    activation: str = "relu",
    norm: str = "post",
    tie_embeddings: bool | str = True,
    position_encoding: str = "half",
    first_position: int = 0,
    scale_embedding: bool = True,
    dropout: float = 0.1,
    max_length: int = 256,
    pad_id: int = 0,
    eos_id: int = 1,
    start_id: int = 0,
    layer_norm_epsilon: float = 1e-5,
    output_bias: bool = True,
    decoder_num_heads: int | None = None,
    decoder_ffn_dim: int | None = None,
    name: str = "transformer",
    dtype: Any = None,
) -> Transformer:
    """Builds a translation model; by default the Transformer base of Vaswani et al. 2017.

    Args:
        quant: True: `QuantDense`, `QuantAttention` and `Int8Gather`, which can be calibrated and
            converted. False: the plain Keras layers, with the same weights and the same output.
        source_vocabulary_size: Token ids of the source are below it.
        target_vocabulary_size: Likewise; None: one vocabulary for both.
        num_encoder_layers, num_decoder_layers: At least 1 each.
        model_dim: Width of embeddings and residual stream.
        num_heads: Attention heads; divides `model_dim`.
        ffn_dim: Width of the feed-forward parts.
        activation: `"relu"`, `"gelu"` (with erf) or `"swish"`, in the feed-forward parts.
        norm: `"post"` (LayerNorm after each residual sum) or `"pre"` (before each sub-layer, and
            one at the end of each stack).
        tie_embeddings: True: source table, target table and output projection are one where the
            vocabularies are one, else target table and output projection. False: three tables.
            `"output"`: target table and output projection; `"inputs"`: source and target table.
        position_encoding: Sinusoids, `"half"` (sines, then cosines), `"interleaved"` or `"marian"`
            (as `"half"`, with the frequencies that Marian trains with; see docs/importers.md).
        first_position: The position of a sentence's first token.
        scale_embedding: Whether embeddings are multiplied by sqrt(model_dim).
        dropout: Rate on the embeddings and on each sub-layer's output (section 5.4 there);
            attention probabilities are not dropped.
        max_length: Positions; a longer sequence is an error.
        pad_id, eos_id, start_id: Padding, end of a sentence, and what the decoder is fed first.
        layer_norm_epsilon: Added to the variance in LayerNorm.
        output_bias: Whether the logits have a bias.
        decoder_num_heads, decoder_ffn_dim: Those of the decoder, where they differ.
        name: Name of the model.
        dtype: Dtype or dtype policy, such as `"mixed_bfloat16"`. The logits are always float32.

    Returns:
        A `Transformer` with its weights made, not compiled.

    Raises:
        ValueError: naming the argument, for a value that is not possible.

    Example:

        >>> model = build_transformer(source_vocabulary_size=100, model_dim=32, num_heads=4,
        ...                           ffn_dim=64, num_encoder_layers=2, num_decoder_layers=2)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("adam", loss)
        >>> weights = labels != model.pad_id  # padding has no loss
        >>> model.fit({"source": source, "target": target}, labels, sample_weight=weights)
    """
    arguments = dict(locals())
    model = Transformer(**arguments)
    model.build()
    return model


def build_on_tables(
    quant: bool, tables: dict[str, np.ndarray], settings: dict[str, Any]
) -> Transformer:
    """`build_transformer` of a model that is read from elsewhere, its largest weights given.

    Random values for them would take three times their memory, which TensorFlow keeps, and to
    assign them twice.

    Args:
        quant: As in `build_transformer`.
        tables: float32, by the names of layers: the embeddings `[v, d]` of "source_embedding" and
            "target_embedding", the kernel `[d, v]` of "output_projection"; what the model shares
            or has not is left out. Taken out of here as soon as the model has them.
        settings: The other arguments of `build_transformer`.
    """
    model = Transformer(quant=quant, **settings)
    changed = []
    for name, weight in (
        ("source_embedding", "embeddings"),
        ("target_embedding", "embeddings"),
        ("output_projection", "kernel"),
    ):
        if name in tables:
            layer, initializer = getattr(model, name), f"{weight}_initializer"
            changed.append((layer, initializer, getattr(layer, initializer)))
            setattr(layer, initializer, partial(_given, tables, name))
    model.build()
    # What the layers say of their initial values is as ever.
    for layer, initializer, before in changed:
        setattr(layer, initializer, before)
    return model


def _given(
    tables: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: Any = None
) -> np.ndarray:
    """An initializer: takes a value out of `tables`."""
    value = tables.pop(name)
    assert value.shape == tuple(shape), "the settings say its shape"
    return value.astype(dtype or "float32", copy=False)


def copy_weights(source: keras.Model, destination: keras.Model) -> None:
    """Gives one model the trainable weights of another of the same sizes, `quant` or not.

    Args:
        source: Where the weights are read; any model of `build_transformer`.
        destination: Where they are written.

    Raises:
        ValueError: naming the first weight that only one of them has, or has in another shape.
    """

    def by_path(model: keras.Model) -> dict[str, Any]:
        # The first part of a path is the model's own name.
        # Thresholds that train are no weights of the plain layers.
        return {
            w.path.partition("/")[2]: w
            for w in model.trainable_weights
            if not w.path.endswith("/" + WEIGHT_NAME)
        }

    given, wanted = by_path(source), by_path(destination)
    different = sorted(given.keys() ^ wanted.keys())
    if different:
        raise ValueError(f"Only one of the two models has the weight {different[0]!r}.")
    for path, weight in wanted.items():
        if given[path].shape != weight.shape:
            raise ValueError(
                f"Weight {path!r} has shape {tuple(given[path].shape)} in {source.name!r} and "
                f"{tuple(weight.shape)} in {destination.name!r}."
            )
    for path, weight in wanted.items():
        # A copy of its own: JAX gives the buffers of a model that trains away.
        weight.assign(np.array(ops.convert_to_numpy(given[path])))
