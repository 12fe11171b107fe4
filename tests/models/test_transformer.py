"""The float Transformer: one output by every road, saving, training, and what it refuses."""

from __future__ import annotations

import importlib.util
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.jax_process import check_on_jax

from keras_int8nmt.calibration import observers
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.models.blocks import source_lengths
from keras_int8nmt.models.build import build_transformer, copy_weights
from keras_int8nmt.models.sinusoids import position_table

RNG = np.random.default_rng(0)
SMALL = {
    "source_vocabulary_size": 20,
    "model_dim": 16,
    "num_heads": 4,
    "ffn_dim": 24,
    "num_encoder_layers": 2,
    "num_decoder_layers": 1,
    "max_length": 16,
}
SHAPES = [
    ("relu", "post", True, "half"),
    ("relu", "pre", False, "interleaved"),
    ("gelu", "post", False, "half"),
    ("gelu", "pre", True, "interleaved"),
    ("swish", "post", True, "interleaved"),
    ("swish", "pre", "inputs", "half"),
    ("relu", "post", "output", "interleaved"),
    ("swish", "pre", True, "half"),
    ("relu", "post", True, "marian"),
]


def small(quant=True, **options):
    return build_transformer(quant, **{**SMALL, **options})


def perturb(model):
    """Biases and norms that differ from their initial zeros and ones."""
    for weight in model.trainable_weights:
        weight.assign(weight + RNG.normal(0, 0.1, weight.shape).astype(np.float32))


def sentences(rows=3, source_length=7, target_length=6):
    source = RNG.integers(1, 20, (rows, source_length)).astype(np.int32)
    source[1:2, 4:] = 0
    target = RNG.integers(1, 20, (rows, target_length)).astype(np.int32)
    return source, target


def decode_all(model, source, target, beams=1, grow_at=3):
    """Logits `[b, beams, t, v]` step by step; every beam is fed the same target."""
    cache = model.start_cache(model.encode(source), beams, grow_at)
    logits = []
    for i in range(target.shape[1]):
        if i == grow_at:
            cache = model.grow_cache(cache, target.shape[1])
        tokens = np.repeat(target[:, i : i + 1], beams, axis=1)
        step, cache = model.decode_step(tokens, np.int32(i), cache)
        assert step.shape == (len(source) * beams, model.target_vocabulary_size)
        logits.append(np.asarray(step).reshape(len(source), beams, -1))
    return np.stack(logits, axis=2)


@pytest.mark.parametrize(("activation", "norm", "tie", "positions"), SHAPES)
def test_quant_plain_and_step_by_step_give_one_output(activation, norm, tie, positions):
    options = {
        "activation": activation,
        "norm": norm,
        "tie_embeddings": tie,
        "position_encoding": positions,
    }
    plain, quant = small(False, **options), small(True, **options)
    perturb(plain)
    copy_weights(plain, quant)
    source, target = sentences()
    expected = np.asarray(plain({"source": source, "target": target}))
    assert expected.shape == (3, 6, 20)
    close = {"rtol": 0, "atol": 1e-5 * max(1.0, np.abs(expected).max())}
    np.testing.assert_allclose(quant((source, target)), expected, **close)
    for model in (plain, quant):
        stepwise = decode_all(model, source, target, beams=2)
        np.testing.assert_allclose(stepwise[:, 0], expected, **close)
        np.testing.assert_array_equal(stepwise[:, 0], stepwise[:, 1])


def test_the_same_seed_gives_the_same_model_quant_or_not():
    outputs = []
    for quant in (True, False):
        keras.utils.set_random_seed(7)
        model = small(quant)
        outputs.append(np.asarray(model(sentences_of_ones())))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)


def sentences_of_ones():
    return np.ones((2, 5), np.int32), np.ones((2, 4), np.int32)


def test_the_sublayers_are_keras_own_or_ours():
    from keras_int8nmt import Int8Gather, QuantAttention, QuantDense

    plain, quant = small(False, tie_embeddings=False), small(True, tie_embeddings=False)
    for model, attention, dense, embedding in (
        (plain, keras.layers.MultiHeadAttention, keras.layers.Dense, keras.layers.Embedding),
        (quant, QuantAttention, QuantDense, Int8Gather),
    ):
        block = model.decoder_blocks[0]
        assert type(block.self_attention) is type(block.cross_attention) is attention
        assert type(block.ffn_in) is type(model.output_projection) is dense
        assert type(model.source_embedding) is embedding
        assert model.source_embedding is not model.target_embedding
    paths = [[w.path.partition("/")[2] for w in m.trainable_weights] for m in (plain, quant)]
    assert paths[0] == paths[1]


def test_tying_follows_the_vocabularies():
    tied = small()
    assert tied.source_embedding is tied.target_embedding
    assert tied.output_projection is None
    two = small(target_vocabulary_size=31)
    assert two.source_embedding is not two.target_embedding
    assert two.output_projection is None
    assert two(sentences_of_ones()).shape == (2, 4, 31)
    assert small(output_bias=False).output_bias is None


@pytest.mark.parametrize("quant", [True, False])
def test_padding_never_changes_the_logits_of_a_sentence(quant):
    model = small(quant)
    perturb(model)
    source, target = sentences(rows=1, source_length=4)
    alone = np.asarray(model((source, target)))
    padded = np.zeros((3, 9), np.int32)
    padded[0, :4] = source
    padded[1:] = RNG.integers(1, 20, (2, 9))
    targets = np.concatenate([target, RNG.integers(1, 20, (2, 6))]).astype(np.int32)
    np.testing.assert_allclose(model((padded, targets))[:1], alone, atol=1e-5)
    stepwise = decode_all(model, padded, targets)
    np.testing.assert_allclose(stepwise[:1, 0], alone, atol=1e-5)


def test_padding_inside_a_sentence_is_a_token():
    lengths = source_lengths(np.array([[3, 0, 4, 0], [0, 0, 0, 0], [1, 2, 3, 4]]), 0)
    np.testing.assert_array_equal(lengths, [3, 1, 4])


def test_a_source_of_padding_alone_is_finite():
    assert np.isfinite(small()((np.zeros((2, 5), np.int32), np.ones((2, 3), np.int32)))).all()


def test_later_target_tokens_change_nothing_before_them():
    model = small()
    source, target = sentences()
    before = np.asarray(model((source, target)))
    target[:, 4:] = 0
    np.testing.assert_array_equal(np.asarray(model((source, target)))[:, :4], before[:, :4])


@pytest.mark.parametrize("quant", [True, False])
def test_beams_follow_their_parents(quant):
    model = small(quant)
    source, _ = sentences()
    cache = model.start_cache(model.encode(source), 2, 4)
    tokens = np.array([[1, 2], [3, 4], [5, 6]], np.int32)
    _, cache = model.decode_step(tokens, 0, cache)
    parents = np.array([[1, 1], [0, 1], [1, 0]], np.int32)
    got, _ = model.decode_step(tokens, 1, model.reorder_cache(cache, parents))
    fresh = model.start_cache(model.encode(source), 2, 4)
    _, fresh = model.decode_step(np.take_along_axis(tokens, parents, axis=1), 0, fresh)
    expected, _ = model.decode_step(tokens, 1, fresh)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("quant", [True, False])
def test_decoding_runs_in_a_while_loop_of_unknown_sizes(quant):
    model = small(quant)
    source, _ = sentences()

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([])])
    def greedy(ids, _):
        cache = model.start_cache(model.encode(ids), 1, 6)
        tokens = tf.ones((tf.shape(ids)[0], 1), tf.int32)

        def body(i, tokens, history, cache):
            logits, cache = model.decode_step(tokens, i, cache)
            cache = model.reorder_cache(cache, tf.zeros_like(tokens))
            tokens = tf.argmax(logits, axis=-1, output_type=tf.int32)[:, None]
            return i + 1, tokens, history.write(i, tokens), cache

        history = tf.TensorArray(tf.int32, 6, element_shape=[None, 1])
        state = (0, tokens, history, cache)
        return tf.while_loop(lambda i, *_: i < 6, body, state)[2].stack()

    in_graph = np.asarray(greedy(source, 0.0))[:, :, 0].T
    tokens, cache = np.ones((3, 1), np.int32), model.start_cache(model.encode(source), 1, 6)
    for i in range(6):
        logits, cache = model.decode_step(tokens, i, cache)
        tokens = np.argmax(logits, axis=-1).astype(np.int32)[:, None]
        np.testing.assert_array_equal(in_graph[:, i : i + 1], tokens)


@pytest.mark.parametrize("tie", [True, False])
def test_a_saved_model_gives_the_same_bits(tmp_path, tie):
    positions = {"position_encoding": "marian", "first_position": 1}
    model = small(
        norm="pre", tie_embeddings=tie, decoder_num_heads=2, decoder_ffn_dim=40, **positions
    )
    perturb(model)
    data = dict(zip(("source", "target"), sentences(), strict=True))
    model.predict(data, verbose=0, callbacks=[CalibrationCallback()])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    assert positions.items() <= again.get_config().items()
    np.testing.assert_array_equal(again(data), model(data), strict=True)
    for old, new in zip(observers(model), observers(again), strict=True):
        assert old[0] == new[0]
        np.testing.assert_array_equal(old[1].thresholds(), new[1].thresholds())


@pytest.mark.parametrize("quant", [True, False])
def test_fit_lowers_the_loss(quant):
    model = small(quant, dropout=0.0, num_encoder_layers=1)
    source = RNG.integers(2, 20, (64, 5)).astype(np.int32)
    target = np.concatenate([np.zeros((64, 1), np.int32), source[:, :-1]], axis=1)
    data = {"source": source, "target": target}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Plain layers with XLA: tests/training/test_dataset.py.
    model.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=quant)
    options = {"batch_size": 8, "epochs": 5, "verbose": 0}
    losses = model.fit(data, source, sample_weight=source > 0, **options).history["loss"]
    assert losses[-1] < 0.9 * losses[0]


def test_calibration_counts_tokens_and_no_padding():
    model = small()
    source = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 0]], np.int32)
    target = np.array([[0, 1, 0], [0, 2, 3]], np.int32)
    before = np.asarray(model((source, target)))
    data = {"source": source, "target": target}
    model.predict(data, verbose=0, callbacks=[CalibrationCallback()])
    np.testing.assert_array_equal(model((source, target)), before)
    totals = {path.partition("/")[2]: o.to_histogram().total for path, o in observers(model)}
    assert totals["encoder_block_1/ffn_in/input_observer"] == (3 + 4) * 16
    assert totals["encoder_block_1/attention/query_input"] == (3 + 4) * 16
    for name in ("ffn_in/input_observer", "self_attention/query_input", "cross_attention/query"):
        key = next(k for k in totals if k.startswith("decoder_block_0/" + name))
        assert totals[key] == (2 + 3) * 16, key
    assert totals["decoder_block_0/cross_attention/value_input"] == (3 + 4) * 16
    assert totals["output_observer"] == (2 + 3) * 16


def test_positions_are_those_of_the_papers():
    half, paper = (position_table(40, 6, e) for e in ("half", "interleaved"))
    t, rates = np.arange(40)[:, None], 10000.0 ** -(np.arange(3) / 3)
    np.testing.assert_allclose(paper[:, 0::2], np.sin(t * rates), atol=1e-6)
    np.testing.assert_allclose(paper[:, 1::2], np.cos(t * rates), atol=1e-6)
    np.testing.assert_array_equal(half, np.concatenate([paper[:, 0::2], paper[:, 1::2]], axis=1))


@pytest.mark.parametrize("first", [0, 1, 7])
@pytest.mark.parametrize("dim", [4, 6, 32])
def test_marian_positions_are_those_of_a_plain_loop(dim, first):
    waves = dim // 2
    expected = np.zeros((300, dim))
    for i in range(300):
        for k in range(waves):
            angle = (first + i) * math.exp(-k * math.log(10000) / (waves - 1))
            expected[i, k], expected[i, waves + k] = math.sin(angle), math.cos(angle)
    table = position_table(300, dim, "marian", first)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, expected, atol=1e-6)


@pytest.mark.parametrize("encoding", ["half", "interleaved", "marian"])
def test_a_first_position_leaves_out_those_before_it(encoding):
    model = small(position_encoding=encoding, first_position=2)
    np.testing.assert_array_equal(
        model.position_table, position_table(18, 16, encoding)[2:], strict=True
    )
    assert not np.allclose(model.position_table, small().position_table)


def test_positions_are_not_weights():
    assert not any(w.shape == (16, 16) and "position" in w.path for w in small().weights)


def test_mixed_precision_keeps_the_logits_in_float32():
    model = small(dtype="mixed_bfloat16")
    source, target = sentences()
    logits = model((source, target))
    assert logits.dtype == tf.float32
    assert model.encode(source)["memory"].dtype == tf.bfloat16
    assert all(w.dtype == "float32" for w in model.trainable_weights)
    np.testing.assert_allclose(decode_all(model, source, target)[:, 0], logits, atol=0.1)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_heads": 3}, "num_heads"),
            ({"decoder_num_heads": 5}, "decoder_num_heads"),
            ({"model_dim": 0}, "model_dim"),
            ({"num_encoder_layers": 1.5}, "num_encoder_layers"),
            ({"num_decoder_layers": True}, "num_decoder_layers"),
            ({"activation": "tanh"}, "activation.*relu"),
            ({"norm": "rms"}, "norm.*post"),
            ({"position_encoding": "learned"}, "position_encoding.*half"),
            ({"position_encoding": "marian", "model_dim": 2, "num_heads": 1}, "model_dim.*marian"),
            ({"position_encoding": "marian", "model_dim": 5, "num_heads": 1}, "model_dim.*marian"),
            ({"first_position": -1}, "first_position"),
            ({"first_position": 0.5}, "first_position"),
            ({"tie_embeddings": "some"}, "tie_embeddings"),
            ({"tie_embeddings": "all", "target_vocabulary_size": 21}, "one vocabulary"),
            ({"scale_embedding": 1}, "scale_embedding"),
            ({"dropout": 1.0}, "dropout"),
            ({"dropout": "0.1"}, "dropout"),
            ({"layer_norm_epsilon": 0.0}, "layer_norm_epsilon"),
            ({"max_length": 0}, "max_length"),
            ({"pad_id": 20}, "pad_id"),
            ({"pad_id": 25, "target_vocabulary_size": 30}, "pad_id.*source_vocabulary_size"),
            ({"eos_id": -1}, "eos_id"),
            ({"start_id": 20}, "start_id"),
        ],
    )
    def test_an_impossible_argument_is_named(self, options, message):
        with pytest.raises(ValueError, match=message):
            small(**options)

    def test_inputs_of_another_form_are_named(self):
        model, ids = small(), np.ones((1, 3), np.int32)
        with pytest.raises(ValueError, match="source, target"):
            model({"source": ids})
        with pytest.raises(ValueError, match="source, target"):
            model(ids)
        with pytest.raises(ValueError, match=r"`source` must have shape \[batch, length\]"):
            model((np.ones((1, 3, 1), np.int32), ids))

    def test_a_sequence_beyond_the_positions_is_refused(self):
        model, long = small(), np.ones((1, 17), np.int32)
        with pytest.raises(ValueError, match="17 tokens is longer than max_length=16"):
            model((long, long[:, :3]))
        with pytest.raises(ValueError, match="max_length=16"):
            model.encode(long)
        dynamic = tf.function(model.encode, input_signature=[tf.TensorSpec([None, None], tf.int32)])
        with pytest.raises(tf.errors.InvalidArgumentError):
            dynamic(long)

    def test_weights_of_another_model_are_refused(self):
        with pytest.raises(ValueError, match=r"Only one.*output_bias"):
            copy_weights(small(), small(output_bias=False))
        with pytest.raises(ValueError, match=r"ffn_in/kernel.*\(16, 24\).*\(16, 32\)"):
            copy_weights(small(), small(ffn_dim=32))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_the_model_trains_and_calibrates_on_jax_without_tensorflow():
    check_on_jax("transformer")
