"""`Int8Transformer`: what `convert` makes of a calibrated `Transformer`; inference only."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_int8nmt.keras_engine.engine import GraphEngine
from keras_int8nmt.layers.inference.arrays import as_array
from keras_int8nmt.layers.inference.frozen_layer import (
    FrozenLayer,
    as_codes,
    optional_params,
    params_config,
)
from keras_int8nmt.models.blocks import source_lengths
from keras_int8nmt.models.sinusoids import positions_of
from keras_int8nmt.models.spec import Stack, transformer_spec
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.runtime.model_spec import ModelSpec, Part
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.runtime.spec_parts import written


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class EntryQuantizer(FrozenLayer):
    """Starts the `(carry, codes)` pair of a post-norm stack: the codes are `x` quantized.

    Without `output_params` they are `x` itself, since a product that reads them is float.
    """

    def __init__(
        self, *, output_params: QuantParams | dict[str, Any] | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.output_params = optional_params(output_params)

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return x, x if self.output_params is None else as_codes(x, self.output_params)

    def entry_spec(self) -> Part:
        """Its part of a `ModelSpec`."""
        return {"kind": "tokens", "writes": written(self.output_params)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_params": params_config(self.output_params)}


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8Transformer(keras.Model):
    """Encoder-decoder Transformer on INT8 products, with the decoding interface of `Transformer`.

    Every weight MatMul, QK^T and AV run in INT8, unless a policy of `convert` left some of them
    float; positions and the logits are float32, and softmax and LayerNorm are unless `convert` made
    them whole-number. The key/value caches are int8 where the product that reads them is.

    Args:
        settings: The plain numbers and flags of the float model (`Transformer.get_config()`).
        source_embedding, target_embedding: `Int8Embedding`, or `FloatEmbedding`.
        encoder_entry, decoder_entry: `EntryQuantizer` (post-norm) or `ResidualNorm` (pre-norm).
        encoder_blocks, decoder_blocks: Lists of `Int8EncoderBlock` and `Int8DecoderBlock`.
        output_projection: `Int8Dense` or `FloatDense` that gives the logits.

    Call arguments:
        inputs: `{"source": int [b, s], "target": int [b, t]}` or that pair as a tuple.

    Returns:
        Logits, float32 `[b, t, target_vocabulary_size]`.
    """

    conversion_report: Any = None
    search_defaults = SearchDefaults()

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        source_embedding: Any,
        target_embedding: Any,
        encoder_entry: Any,
        encoder_blocks: list[Any],
        decoder_entry: Any,
        decoder_blocks: list[Any],
        output_projection: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.supports_jit = False
        self.settings = dict(settings)
        self.source_embedding = source_embedding
        self.target_embedding = target_embedding
        self.encoder_entry = encoder_entry
        self.encoder_blocks = list(encoder_blocks)
        self.decoder_entry = decoder_entry
        self.decoder_blocks = list(decoder_blocks)
        self.output_projection = output_projection
        self.pad_id = settings["pad_id"]
        self.eos_id = settings["eos_id"]
        self.start_id = settings["start_id"]
        self.max_length = settings["max_length"]
        self.target_vocabulary_size = settings["target_vocabulary_size"]
        model_dim = settings["model_dim"]
        self.multiplier = float(model_dim) ** 0.5 if settings["scale_embedding"] else 1.0
        self.positions = tf.constant(positions_of(settings), tf.float32)
        self.built = True

    @property
    def precision(self) -> str:
        """ "int8", "float32", or "mixed" where some MatMuls are float."""
        found = {self.output_projection.precision}
        for block in (*self.encoder_blocks, *self.decoder_blocks):
            found |= block.precisions
        return found.pop() if len(found) == 1 else "mixed"

    # ---- forward pass ----

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        if isinstance(inputs, dict):
            source, target = inputs["source"], inputs["target"]
        else:
            source, target = inputs
        encoded = self.encode(source)
        carry, codes = self.decoder_entry(self._embed(self.target_embedding, target))
        for block, cross in zip(self.decoder_blocks, self._cross_caches(encoded), strict=True):
            carry, codes = block(carry, codes, cross, encoded["lengths"])
        return self.output_projection(codes)

    def _embed(self, embedding: Any, ids: tf.Tensor) -> tf.Tensor:
        length = ids.shape[1]
        if length is not None and length > self.max_length:
            raise ValueError(
                f"A sequence of {length} tokens is longer than max_length={self.max_length}."
            )
        embedded = embedding(ids, multiplier=self.multiplier)
        return embedded + self.positions[: tf.shape(ids)[1]]

    def _cross_caches(self, encoded: dict[str, tf.Tensor]) -> list[Any]:
        memory = encoded["memory"]
        return [block.cross_attention.compute_cache(memory) for block in self.decoder_blocks]

    # ---- decoding interface, see `Transformer` ----

    def encode(self, source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encodes `[b, s]` ids; `memory` is `[b, s, d]`, codes where all its readers agree."""
        source_ids = tf.cast(source_ids, tf.int32)
        lengths = source_lengths(source_ids, self.pad_id)
        carry, codes = self.encoder_entry(self._embed(self.source_embedding, source_ids))
        for block in self.encoder_blocks:
            carry, codes = block(carry, codes, lengths)
        return {"memory": codes, "lengths": lengths}

    def start_cache(self, encoded: dict[str, tf.Tensor], beam_size: Any, capacity: Any) -> Any:
        rows = tf.shape(encoded["lengths"])[0] * beam_size
        return {
            "self": [b.self_attention.make_cache(rows, capacity) for b in self.decoder_blocks],
            "cross": self._cross_caches(encoded),
            "lengths": encoded["lengths"],
        }

    def grow_cache(self, cache: Any, capacity: Any) -> Any:
        def grow(x: tf.Tensor) -> tf.Tensor:
            return tf.pad(x, [[0, 0], [0, capacity - tf.shape(x)[1]], [0, 0]])

        return {**cache, "self": [(grow(k), grow(v)) for k, v in cache["self"]]}

    def decode_step(self, tokens: tf.Tensor, index: tf.Tensor, cache: Any) -> tuple[tf.Tensor, Any]:
        """Logits `[b * beam, v]` after `tokens` `[b, beam]` at position `index`, and the cache."""
        embedded = self.target_embedding(tokens, multiplier=self.multiplier)
        carry, codes = self.decoder_entry(embedded + self.positions[index])
        shape = tf.shape(cache["self"][0][0])
        cache_lengths = tf.fill(shape[:1], shape[1])
        self_caches = []
        for block, self_cache, cross in zip(
            self.decoder_blocks, cache["self"], cache["cross"], strict=True
        ):
            carry, codes, self_cache = block(
                carry,
                codes,
                cross,
                cache["lengths"],
                self_cache=self_cache,
                cache_index=index,
                cache_lengths=cache_lengths,
            )
            self_caches.append(self_cache)
        logits = self.output_projection(codes)
        return (
            tf.reshape(logits, (-1, self.target_vocabulary_size)),
            {**cache, "self": self_caches},
        )

    def reorder_cache(self, cache: Any, parents: tf.Tensor) -> Any:
        """Rows of the self caches by `parents` `[b, beam]`, each in `[0, beam)`."""
        shape = tf.shape(parents)
        rows = tf.reshape(tf.range(shape[0])[:, None] * shape[1] + parents, (-1,))
        reordered = [(ops.int8_gather(k, rows), ops.int8_gather(v, rows)) for k, v in cache["self"]]
        return {**cache, "self": reordered}

    # ---- what a `Translator` asks, see `TranslationModel` ----

    def native_refusal(self) -> str | None:
        return None

    def spec(self, packed: bool = True) -> ModelSpec:
        def stack(entry: Any, blocks: list[Any]) -> Stack:
            return Stack(entry.entry_spec(), [block.spec(packed) for block in blocks])

        return transformer_spec(
            self.settings,
            positions=as_array(self.positions),
            multiplier=self.multiplier,
            embeddings=(self.source_embedding.spec(), self.target_embedding.spec()),
            stacks=(
                stack(self.encoder_entry, self.encoder_blocks),
                stack(self.decoder_entry, self.decoder_blocks),
            ),
            projection=self.output_projection.spec(packed),
            packed=packed,
        )

    def weights_token(self) -> Any:
        # It is frozen.
        return None

    def graph_engine(
        self,
        options: SearchOptions,
        batch_size: int,
        streams: int | str,
        max_batch_tokens: int | None = None,
    ) -> GraphEngine:
        if not isinstance(streams, int):
            # The native products run on one core each; TensorFlow's own spread over all of them.
            streams = usable_cores() if ops.native_available() else 1
        return GraphEngine(self, options, batch_size, streams, max_batch_tokens)

    # ---- saving ----

    _PARTS = (
        "source_embedding",
        "target_embedding",
        "encoder_entry",
        "decoder_entry",
        "output_projection",
    )
    _LISTS = ("encoder_blocks", "decoder_blocks")

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config: dict[str, Any] = {"name": self.name, "settings": self.settings}
        config.update({name: serialize(getattr(self, name)) for name in self._PARTS})
        config.update({n: [serialize(b) for b in getattr(self, n)] for n in self._LISTS})
        if self.target_embedding is self.source_embedding:
            config["target_embedding"] = None
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Int8Transformer:
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        for name in cls._PARTS:
            config[name] = deserialize(config[name], custom_objects)
        for name in cls._LISTS:
            config[name] = [deserialize(b, custom_objects) for b in config[name]]
        if config["target_embedding"] is None:
            config["target_embedding"] = config["source_embedding"]
        return cls(**config)
