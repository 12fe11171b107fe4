"""Where the channels of a float `Transformer` can be rescaled without a change of its function.

What writes a tensor is divided channel by channel by factors, and what alone reads it is multiplied
by them. `keras.ops` models on any back end; NumPy does the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.models.transformer import Transformer


@dataclass(frozen=True)
class Part:
    """The channels of a weight: its axes from `start` up to `stop`, side by side."""

    weight: Any
    start: int = 0
    stop: int = 1

    def _by_channel(self) -> np.ndarray:
        """float64 `[before, channels, after]`."""
        value = np.array(keras.ops.convert_to_numpy(self.weight), np.float64)
        before, after = value.shape[: self.start], value.shape[self.stop :]
        return value.reshape(int(np.prod(before)), -1, int(np.prod(after)))

    def largest(self) -> np.ndarray:
        """The largest magnitude of each channel, `[channels]`."""
        return np.max(np.abs(self._by_channel()), axis=(0, 2))

    def multiply(self, factors: np.ndarray) -> None:
        """Multiplies channel j by `factors[j]`."""
        scaled = self._by_channel() * factors[:, None]
        self.weight.assign(scaled.reshape(self.weight.shape).astype(np.float32))


@dataclass(frozen=True)
class Site:
    """A tensor whose channels can be rescaled.

    Attributes:
        name: Its place in the model.
        kind: "norm" (LayerNorm to the kernels that read it), "ffn" (between the feed-forward
            layers), "value" (projected values to the output projection of attention) or "scores"
            (projected queries, with the projected keys in the place of a kernel).
        observer: What watches the tensor.
        writers, readers: The weights that make it, and those that are multiplied with it.
        other: At "scores" the observer of the keys; None elsewhere.
    """

    name: str
    kind: str
    observer: Observer
    writers: tuple[Part, ...]
    readers: tuple[Part, ...]
    other: Observer | None = None

    @property
    def channels(self) -> int:
        return len(self.readers[0].largest())

    def divide(self, factors: np.ndarray) -> None:
        """Divides channel j of the tensor by `factors[j]`, and multiplies its readers by it.

        Factors that are powers of two change no bit of the model's outputs.
        """
        factors = np.asarray(factors, np.float64)
        if factors.shape != (self.channels,) or not np.all(np.isfinite(factors) & (factors > 0)):
            raise ValueError(
                f"{self.name} has {self.channels} channels and needs a positive factor for each; "
                f"received an array of shape {factors.shape}."
            )
        for part in self.writers:
            part.multiply(1.0 / factors)
        for part in self.readers:
            part.multiply(factors)


def scaling_sites(model: Transformer) -> list[Site]:
    """Every site of a `Transformer` with `quant=True`, those of norms last.

    The feed-forward part has one where its activation is ReLU: only that commutes with positive
    factors. A norm has one where nothing but products reads it: in a pre-norm model each, and in a
    post-norm model, whose residual stream reads norms too, the last of a stack. An output
    projection that is tied to an embedding can't be rescaled.
    """
    blocks = [*model.encoder_blocks, *model.decoder_blocks]
    found = []
    for block in blocks:
        for name in block.attentions:
            found.extend(_attention_sites(getattr(block, name)))
        if block.settings["activation"] == "relu":
            found.append(_ffn_site(block))
    if model.settings["norm"] == "pre":
        for block in blocks:
            found.extend(_pre_norm_sites(block))
    return [*found, *_last_norm_sites(model)]


def _written(dense: Any, axes: int = 1) -> tuple[Part, ...]:
    """The weights of a dense layer by output channel, which has `axes` axes."""
    parts = [Part(dense.kernel, 1, 1 + axes)]
    if dense.bias is not None:
        parts.append(Part(dense.bias, 0, axes))
    return tuple(parts)


def _attention_sites(attention: Any) -> list[Site]:
    values = Site(
        f"{attention.path}/context",
        "value",
        attention.context,
        _written(attention.value_dense, 2),
        (Part(attention.output_dense.kernel, 0, 2),),
    )
    scores = Site(
        f"{attention.path}/query",
        "scores",
        attention.query,
        _written(attention.query_dense, 2),
        _written(attention.key_dense, 2),
        attention.key,
    )
    return [values, scores]


def _ffn_site(block: Any) -> Site:
    readers = (Part(block.ffn_out.kernel),)
    observer = block.ffn_out.input_observer
    return Site(block.ffn_out.path, "ffn", observer, _written(block.ffn_in), readers)


def _norm_site(norm: Any, observer: Observer, readers: list[Any]) -> Site:
    writers = (Part(norm.gamma), Part(norm.beta))
    return Site(
        norm.path, "norm", observer, writers, tuple(Part(dense.kernel) for dense in readers)
    )


def _pre_norm_sites(block: Any) -> list[Site]:
    found = []
    for name in block.attentions:
        attention = getattr(block, name)
        readers = [attention.query_dense]
        if name != "cross_attention":
            readers += [attention.key_dense, attention.value_dense]
        norm = getattr(block, name + "_norm")
        found.append(_norm_site(norm, attention.query_input, readers))
    found.append(_norm_site(block.ffn_norm, block.ffn_in.input_observer, [block.ffn_in]))
    return found


def _last_norm_sites(model: Transformer) -> list[Site]:
    def last(norm: Any, blocks: list[Any]) -> Any:
        return blocks[-1].ffn_norm if norm is None else norm

    cross = [block.cross_attention for block in model.decoder_blocks]
    readers = [dense for a in cross for dense in (a.key_dense, a.value_dense)]
    memory = last(model.encoder_norm, model.encoder_blocks)
    found = [_norm_site(memory, cross[0].value_input, readers)]
    projection = model.output_projection
    if projection is not None:
        norm = last(model.decoder_norm, model.decoder_blocks)
        found.append(_norm_site(norm, projection.input_observer, [projection]))
    return found
