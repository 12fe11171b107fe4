"""`ops.translate`: the whole search of the native decoder as one op."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_int8nmt import native
from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.ops.checks import as_tensor
from keras_int8nmt.runtime.batching import MOST_BATCH
from keras_int8nmt.runtime.model_spec import DTYPES, ModelSpec
from keras_int8nmt.runtime.search_options import MOST_BEAM


def translate(
    source_ids: Any,
    divisors: Any,
    spec: ModelSpec,
    tensors: Mapping[str, Any] | None = None,
    *,
    beam_size: int = 4,
    num_hypotheses: int = 1,
    min_length: int = 0,
    batch_size: int = 32,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Beam search over each row, in the calling thread; equal to `Translator(path="fast")`.

    Args:
        source_ids: int32 `[b, s]`. A sentence is the tokens of a row up to the last that is not
            padding, at least one.
        divisors: float32 `[max_length + 1]`, of `SearchOptions.divisors`.
        spec: A model, as `model.spec()` gives it.
        tensors: What stands for some of its tensors, by name: variables of a graph, say.
        beam_size, num_hypotheses, min_length: As in `Translator`.
        batch_size: Sentences that are computed together.

    Returns:
        `(tokens, lengths, scores)`: int32 `[b, num_hypotheses, longest]`, then padding; int32 and
        float32 `[b, num_hypotheses]`, 0 and -inf where there was no further hypothesis.

    Raises:
        RuntimeError: without the native library; stock operations have no counterpart.
    """
    native.require_functions()
    from keras_int8nmt.ops import native as native_ops

    source_ids = as_tensor("source_ids", source_ids, ("int32",), rank=2)
    divisors = as_tensor("divisors", divisors, ("float32",), rank=1)
    given = {**spec.tensors, **(tensors or {})}
    values = [as_tensor(name, tensor, DTYPES) for name, tensor in given.items()]
    beam_size = whole("beam_size", beam_size, 1, MOST_BEAM)
    num_hypotheses = whole("num_hypotheses", num_hypotheses, 1, MOST_BEAM)
    min_length = whole("min_length", min_length, 0, MOST_INT32)
    batch_size = whole("batch_size", batch_size, 1, MOST_BATCH)
    if num_hypotheses > beam_size:
        raise ValueError(f"`num_hypotheses` is {num_hypotheses}, more than the beam, {beam_size}.")
    tokens, lengths, scores = native_ops.translate(
        source_ids,
        divisors,
        values,
        tensor_names=list(given),
        **settings_as_attributes(spec),
        beam_size=beam_size,
        num_hypotheses=num_hypotheses,
        min_length=min_length,
        batch_size=batch_size,
    )
    shape = [source_ids.shape[0], num_hypotheses]
    tokens.set_shape([*shape, None])
    lengths.set_shape(shape)
    scores.set_shape(shape)
    return tokens, lengths, scores


def settings_as_attributes(spec: ModelSpec) -> dict[str, list[Any]]:
    """The op's attributes: names and values of the settings of each type."""
    found: dict[str, list[Any]] = {}
    for kind, type_ in (("int", int), ("float", float), ("text", str)):
        chosen = {name: x for name, x in spec.settings.items() if isinstance(x, type_)}
        found[f"{kind}_names"] = list(chosen)
        found[f"{kind}s"] = [type_(x) for x in chosen.values()]
    return found
