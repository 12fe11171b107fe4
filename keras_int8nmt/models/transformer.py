"""`Transformer`: the float encoder-decoder model that is trained, calibrated and converted.

`keras.ops` only: TensorFlow and JAX back ends.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.light_training import LightTraining
from keras_int8nmt.layers.observing.branches import apply_if
from keras_int8nmt.layers.observing.exported import product_output
from keras_int8nmt.layers.observing.fake_quant import fake_quantize_rows
from keras_int8nmt.layers.observing.learned_threshold import start_learned
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.observing.switch import OBSERVING, OFF, SIMULATING, says
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.models.blocks import (
    DecoderBlock,
    EncoderBlock,
    length_mask,
    source_lengths,
)
from keras_int8nmt.models.settings import check_settings, split_inputs
from keras_int8nmt.models.sinusoids import positions_of
from keras_int8nmt.runtime.model_spec import ModelSpec
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.search_options import SearchOptions

Cache = dict[str, Any]


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Transformer(LightTraining, keras.Model):
    """Encoder-decoder Transformer (Vaswani et al. 2017); made by `build_transformer`.

    The arguments are those of `build_transformer`, which documents them.

    Call arguments:
        inputs: `{"source": int [b, s], "target": int [b, t]}`, or the pair as a tuple. `target` is
            what the decoder is fed: `start_id` and then the tokens before the one to predict.
            Padding at the end of a source is masked by its length (the tokens up to the last that
            is not `pad_id`) and never changes the logits. What a loss makes of padding in the
            target is told by `sample_weight`.

    Returns:
        Logits, float32 `[b, t, target_vocabulary_size]`.

    Decoding, position by position: `encode`, `start_cache`, then `decode_step`, `reorder_cache` and
    `grow_cache`; the state is a nest of tensors that a caller does not open. The rows of a state
    are the hypotheses, `beam` of them a sentence.
    """

    # What a Translator asks of a search where its caller says nothing.
    search_defaults = SearchDefaults()

    def __init__(
        self, *, quant: bool = True, name: str | None = None, dtype: Any = None, **settings: Any
    ) -> None:
        super().__init__(name=name or "transformer", dtype=dtype)
        self.settings = check_settings(settings)
        self.quant = quant
        for attribute in (
            "source_vocabulary_size",
            "target_vocabulary_size",
            "model_dim",
            "max_length",
            "pad_id",
            "eos_id",
            "start_id",
            "tie_embeddings",
        ):
            setattr(self, attribute, self.settings[attribute])
        self.scale = float(self.model_dim) ** 0.5 if self.settings["scale_embedding"] else 1.0
        self.position_table = positions_of(self.settings)
        self._make_embeddings()
        self._make_stacks()
        self._make_output()
        self.dropout = keras.layers.Dropout(self.settings["dropout"], dtype=self.dtype_policy)

    def _make_embeddings(self) -> None:
        def embedding(size: int, name: str) -> Any:
            layer = Int8Gather if self.quant else keras.layers.Embedding
            return layer(
                size,
                self.model_dim,
                embeddings_initializer=keras.initializers.RandomNormal(stddev=self.model_dim**-0.5),
                name=name,
                dtype=self.dtype_policy,
            )

        if self.tie_embeddings in ("all", "inputs"):
            self.source_embedding = embedding(self.source_vocabulary_size, "embedding")
            self.target_embedding = self.source_embedding
        else:
            self.source_embedding = embedding(self.source_vocabulary_size, "source_embedding")
            self.target_embedding = embedding(self.target_vocabulary_size, "target_embedding")

    def _make_stacks(self) -> None:
        s = self.settings
        common = {name: s[name] for name in ("activation", "norm", "dropout", "layer_norm_epsilon")}
        common.update(quant=self.quant, dtype=self.dtype_policy)

        def stack(block: Any, kind: str, heads: int, ffn_dim: int) -> list[Any]:
            return [
                block(self.model_dim, heads, ffn_dim, name=f"{kind}_block_{i}", **common)
                for i in range(s[f"num_{kind}_layers"])
            ]

        def last_norm(kind: str) -> Any:
            if s["norm"] == "post":
                return None
            return keras.layers.LayerNormalization(
                epsilon=s["layer_norm_epsilon"], name=kind + "_norm", dtype=self.dtype_policy
            )

        self.encoder_blocks = stack(EncoderBlock, "encoder", s["num_heads"], s["ffn_dim"])
        self.encoder_norm = last_norm("encoder")
        self.decoder_blocks = stack(
            DecoderBlock, "decoder", s["decoder_num_heads"], s["decoder_ffn_dim"]
        )
        self.decoder_norm = last_norm("decoder")

    def _make_output(self) -> None:
        self.output_projection: Any = None
        self.output_observer: Any = None
        self.output_bias: Any = None
        if self.tie_embeddings in ("all", "output"):
            if self.quant:
                self.output_observer = Observer(name="output_observer")
            return
        dense = QuantDense if self.quant else keras.layers.Dense
        self.output_projection = dense(
            self.target_vocabulary_size,
            use_bias=self.settings["output_bias"],
            name="output_projection",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any = None) -> None:
        """Makes all weights; no shape depends on the inputs."""
        if getattr(self, "built", False):
            return
        self.source_embedding.build()
        if self.target_embedding is not self.source_embedding:
            self.target_embedding.build()
        for block in (*self.encoder_blocks, *self.decoder_blocks):
            block.build()
        shape = (None, None, self.model_dim)
        for part in (self.encoder_norm, self.decoder_norm, self.output_projection):
            if part is not None:
                part.build(shape)
        if self.output_observer is not None:
            self.output_observer.build(shape)
        if self.output_projection is None and self.settings["output_bias"]:
            self.output_bias = self.add_weight(
                name="output_bias", shape=(self.target_vocabulary_size,), initializer="zeros"
            )
        self.built = True

    # ---- all positions at once ----

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        source, target = split_inputs(inputs)
        encoded = self.encode(source, training=training)
        memory = encoded["memory"]
        memory_mask = length_mask(encoded["lengths"], ops.shape(memory)[1])
        mask = self._observed(target)
        x = self._embed(self.target_embedding, target, training)
        for block in self.decoder_blocks:
            x = block(x, memory, memory_mask=memory_mask, token_mask=mask, training=training)
        return self._logits(x, mask)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        _, target = split_inputs(input_shape)
        return (*target, self.target_vocabulary_size)

    def _observed(self, target: Any) -> Any:
        """Which target positions count in calibration, bool `[b, t]`; None where nothing counts.

        All are true unless the model is observing: then padding at the end is hidden, which changes
        what the decoder computes there and nowhere else.
        """
        if not self.quant:
            return None
        observing = says(self.decoder_blocks[0].ffn_in.input_observer.switch, OBSERVING)
        if observing is False:
            return None
        real = length_mask(source_lengths(target, self.pad_id), ops.shape(target)[1])
        return ops.logical_or(real, ops.logical_not(observing))

    def _embed(self, embedding: Any, ids: Any, training: bool | None) -> Any:
        length = ids.shape[1]
        if length is not None and length > self.max_length:
            raise ValueError(
                f"A sequence of {length} tokens is longer than max_length={self.max_length} of "
                f"model {self.name!r}."
            )
        # Of a longer sequence whose length only the graph knows, the sum below fails.
        positions = ops.convert_to_tensor(self.position_table[:length])[: ops.shape(ids)[1]]
        x = embedding(ids) * self.scale
        return self.dropout(x + ops.cast(positions, x.dtype), training=training)

    def _logits(self, x: Any, mask: Any) -> Any:
        if self.decoder_norm is not None:
            x = self.decoder_norm(x)
        if self.output_projection is not None:
            seen = {"mask": mask} if self.quant else {}
            # A copy, since Keras attaches the mask to the output and losses would heed it.
            return ops.cast(ops.copy(self.output_projection(x, **seen)), "float32")
        table = ops.convert_to_tensor(self.target_embedding.embeddings)
        if self.output_observer is not None:
            x = self.output_observer.watch(x, mask)
            simulating = says(self.output_observer.switch, SIMULATING)
            table = apply_if(simulating, fake_quantize_rows, table, straight_through=True)
        # Not `matmul` with a transpose, which would copy the table at each step.
        logits = ops.cast(ops.einsum("btc,vc->btv", x, ops.cast(table, x.dtype)), "float32")
        if self.output_bias is not None:
            logits = logits + ops.cast(self.output_bias, "float32")
        return (
            logits
            if self.output_observer is None
            else product_output(self, "output_projection", logits)
        )

    # ---- decoding ----

    def encode(self, source_ids: Any, *, training: bool | None = None) -> Cache:
        """Encodes sentences.

        Args:
            source_ids: int `[b, s]`, padded with `pad_id`.

        Returns:
            `[b, s, d]` under the name "memory", and int32 `[b]` under "lengths".
        """
        lengths = source_lengths(source_ids, self.pad_id)
        mask = length_mask(lengths, ops.shape(source_ids)[1])
        x = self._embed(self.source_embedding, source_ids, training)
        for block in self.encoder_blocks:
            x = block(x, token_mask=mask, training=training)
        if self.encoder_norm is not None:
            x = self.encoder_norm(x)
        return {"memory": x, "lengths": lengths}

    def start_cache(self, encoded: Cache, beam_size: Any, capacity: Any) -> Cache:
        """The state before the first step: room for `capacity` positions of each hypothesis.

        Args:
            encoded: What `encode` gave.
            beam_size: Hypotheses a sentence.
            capacity: Positions; `grow_cache` makes room for more.
        """
        memory, lengths = encoded["memory"], encoded["lengths"]
        mask = length_mask(lengths, ops.shape(memory)[1])
        rows = ops.shape(memory)[0] * beam_size
        return {
            "self": [block.make_self_cache(rows, capacity) for block in self.decoder_blocks],
            "cross": [block.compute_cross_cache(memory, mask) for block in self.decoder_blocks],
            "mask": mask,
        }

    def grow_cache(self, cache: Cache, capacity: Any) -> Cache:
        """The same state with room for `capacity` positions, at least as many as it has."""

        def grow(x: Any) -> Any:
            return ops.pad(x, [[0, 0], [0, capacity - ops.shape(x)[1]], [0, 0], [0, 0]])

        return {**cache, "self": [(grow(k), grow(v)) for k, v in cache["self"]]}

    def decode_step(
        self, tokens: Any, index: Any, cache: Cache, counted: Any = None
    ) -> tuple[Any, Cache]:
        """One step of all hypotheses.

        Args:
            tokens: int `[b, beam]`, the tokens at position `index`.
            index: int32 scalar, counted from 0, less than the capacity and than `max_length`.
            cache: The state after the steps before.
            counted: bool `[b, beam]`: which hypotheses calibration counts; by default all. What the
                others give is undefined.

        Returns:
            Logits of the next token, float32 `[b * beam, target_vocabulary_size]`, and the state.
        """
        x = self.target_embedding(tokens) * self.scale
        x = x + ops.cast(ops.take(self.position_table, index, axis=0), x.dtype)
        self_caches = []
        for block, self_cache, cross in zip(
            self.decoder_blocks, cache["self"], cache["cross"], strict=True
        ):
            x, self_cache = block.step(x, index, self_cache, cross, cache["mask"], counted)
            self_caches.append(self_cache)
        logits = ops.reshape(self._logits(x, counted), (-1, self.target_vocabulary_size))
        return logits, {**cache, "self": self_caches}

    def reorder_cache(self, cache: Cache, parents: Any) -> Cache:
        """The state in which hypothesis i of a sentence is what hypothesis `parents[i]` was.

        Args:
            cache: The state.
            parents: int32 `[b, beam]`, each in `[0, beam)`.
        """
        batch, beam = ops.shape(parents)[0], ops.shape(parents)[1]
        first = ops.expand_dims(ops.arange(batch, dtype="int32") * beam, 1)
        rows = ops.reshape(first + ops.cast(parents, "int32"), (-1,))
        reordered = [
            (ops.take(k, rows, axis=0), ops.take(v, rows, axis=0)) for k, v in cache["self"]
        ]
        return {**cache, "self": reordered}

    # ---- what a `Translator` asks, see `TranslationModel` ----

    def native_refusal(self) -> str | None:
        from keras_int8nmt.keras_engine.forks import check_tensorflow
        from keras_int8nmt.layers.model_state import observers

        # Before the first value of a variable is asked for.
        check_tensorflow()
        if self.compute_dtype != "float32":
            return f"the native decoder computes in float32, the model in {self.compute_dtype}"
        if any(int(observer.switch.value) != OFF for _, observer in observers(self)):
            return "the model is observing or simulating"
        return None

    def spec(self, packed: bool = True) -> ModelSpec:
        from keras_int8nmt.models.spec_of_float import spec_of_float

        return spec_of_float(self, packed)

    def weights_token(self) -> Any:
        from keras_int8nmt.models.weights_token import WeightsToken

        return WeightsToken(self.weights)

    def graph_engine(
        self,
        options: SearchOptions,
        batch_size: int,
        streams: int | str,
        max_batch_tokens: int | None = None,
    ) -> Any:
        from keras_int8nmt.keras_engine.engine import GraphEngine

        # TensorFlow's own products spread over the cores.
        count = streams if isinstance(streams, int) else 1
        return GraphEngine(self, options, batch_size, count, max_batch_tokens)

    # ---- saving ----

    def get_compile_config(self) -> Any:
        config = super().get_compile_config()
        if config is None or not self.built:
            return config
        learned = [path for path, o in self._observers_by_path().items() if o.learned.active]
        return {**config, "learned_thresholds": learned} if learned else config

    def compile_from_config(self, config: Any) -> None:
        # The optimizer is made here and has to know all weights that train.
        config = dict(config)
        found = self._observers_by_path()
        for path in config.pop("learned_thresholds", ()):
            start_learned([found[path]], [found[path].name])
        super().compile_from_config(config)

    def _observers_by_path(self) -> dict[str, Observer]:
        from keras_int8nmt.layers.model_state import observers

        # The first part of a path is the model's own name.
        return {path.partition("/")[2]: observer for path, observer in observers(self)}

    def get_config(self) -> dict[str, Any]:
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        return {"name": self.name, "dtype": policy, "quant": self.quant, **self.settings}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Transformer:
        config = dict(config)
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = keras.saving.deserialize_keras_object(
                config["dtype"], custom_objects=custom_objects
            )
        model = cls(**config)
        # No shape depends on the inputs, so a model from its config has all its weights.
        model.build()
        return model
