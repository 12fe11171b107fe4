"""Neighbours in graphs exchange codes, and no number differs from those of the layers alone."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import layers

from keras_int8nmt import QuantDense, build_transformer, convert, quantize_model
from keras_int8nmt.conversion import ConversionReport
from keras_int8nmt.layers.inference.int8_dense import Int8Dense
from keras_int8nmt.layers.inference.quantizer import Quantizer
from keras_int8nmt.layers.model_state import layers_of, set_state, settle

X = np.random.default_rng(7).normal(size=(8, 6, 16)).astype(np.float32)
WRITTEN, NORM, ONCE = "written by the product", "written by the norm", "quantized once"


def calibrated(model, x=X):
    quant = quantize_model(model)
    set_state(quant, "observing")
    quant(x)
    settle(quant, "naive")
    set_state(quant, "float")
    return quant


def _name(path):
    return path.rsplit("/")[-1]


class Both(NamedTuple):
    """A converted model with the exchange of codes, and without."""

    fused: keras.Model
    alone: keras.Model

    @property
    def exchanges(self):
        return {
            (one.pattern, _name(one.writer), tuple(sorted(map(_name, one.readers))))
            for one in self.fused.conversion_report.exchanges
        }

    def check(self, x=X, **settings):
        """Holds the two against each other to the bit, and gives the outputs."""
        pairs = []
        for model in self:
            keras.utils.set_random_seed(1)
            pairs.append([np.asarray(y) for y in keras.tree.flatten(model(x, **settings))])
        for ours, theirs in zip(*pairs, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
        return pairs[0]


def both(model, x=X, **options):
    quant = calibrated(model, x)
    found = Both(convert(quant, **options), convert(quant, fused=False, **options))
    assert not found.alone.conversion_report.exchanges
    found.check(x)
    return found


def graph(function, shape=(6, 16)):
    """The model of a function of its input."""
    keras.utils.set_random_seed(3)
    x = keras.Input(shape, name="given")
    return keras.Model(x, function(x))


# ---- patterns ----


@keras.saving.register_keras_serializable("keras_hub")
def gelu_approximate(x):
    """As KerasHub's models have it."""
    return keras.activations.gelu(x, approximate=True)


gelu_approximate.__module__ = "keras_hub.src.utils.keras_utils"


@pytest.mark.parametrize("activation", [None, "relu", "gelu", gelu_approximate, "swish"])
def test_a_product_writes_the_codes_that_the_next_one_reads(activation):
    found = both(
        graph(lambda x: layers.Dense(4, name="b")(layers.Dense(24, activation, name="a")(x)))
    )
    assert found.exchanges == {(WRITTEN, "a", ("b",))}
    assert found.fused.get_layer("a")(X).dtype in ("int8", "uint8")
    assert found.fused.get_layer("a").output.dtype in ("int8", "uint8")


def test_the_tanh_form_of_gelu_is_computed_by_the_product():
    model = graph(lambda x: layers.Dense(24, gelu_approximate, name="a")(x))
    assert both(model).fused.get_layer("a").fused == "gelu_tanh"


def test_a_sequential_model_exchanges_codes():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((16,)), layers.Dense(32, "relu", name="a"), layers.Dense(8, "gelu", name="b")]
    )
    model.add(layers.Dense(3, "softmax", name="c"))
    found = both(model, X[:, 0])
    assert found.exchanges == {(WRITTEN, "a", ("b",)), (WRITTEN, "b", ("c",))}


def test_all_readers_of_a_product_may_read_its_codes():
    def body(x):
        x = layers.Dense(24, "gelu", name="a")(x)
        return layers.Add()([layers.Dense(4, name="b")(x), layers.Dense(4, name="c")(x)])

    assert both(graph(body)).exchanges == {(WRITTEN, "a", ("b", "c"))}


BETWEEN = {
    "dropout": lambda: layers.Dropout(0.5),
    "spatial dropout": lambda: layers.SpatialDropout1D(0.5),
    "identity": lambda: layers.Identity(),
    "linear": lambda: layers.Activation("linear"),
    "reshape": lambda: layers.Reshape((12, 12)),
    "flatten": lambda: layers.Flatten(),
    "permute": lambda: layers.Permute((2, 1)),
    "relu": lambda: layers.ReLU(),
    "activation": lambda: layers.Activation("relu"),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_codes_go_through_layers_that_leave_values_as_they_are(name):
    def body(x):
        return layers.Dense(4, name="b")(BETWEEN[name]()(layers.Dense(24, name="a")(x)))

    found = both(graph(body))
    assert found.exchanges == {(WRITTEN, "a", ("b",))}
    (trained,) = found.check(training=True)
    assert np.array_equal(trained, found.fused(X)) is ("dropout" not in name)


def test_codes_go_through_several_layers():
    def body(x):
        x = layers.Dense(24, name="a")(x)
        x = layers.Flatten()(layers.Dropout(0.2)(layers.ReLU()(x)))
        return layers.Dense(4, name="b")(x)

    assert both(graph(body)).exchanges == {(WRITTEN, "a", ("b",))}


def test_a_repeated_vector_is_repeated_as_codes():
    def body(x):
        return layers.Dense(4, name="b")(layers.RepeatVector(3)(layers.Dense(8, name="a")(x)))

    assert both(graph(body, (16,)), X[:, 0]).exchanges == {(WRITTEN, "a", ("b",))}


def test_einsum_products_write_and_read_codes():
    def body(x):
        x = layers.EinsumDense("abc,cde->abde", (None, 4, 6), bias_axes="de", name="a")(x)
        return layers.EinsumDense("abde,def->abf", (None, 5), bias_axes="f", name="b")(x)

    found = both(graph(body))
    assert found.exchanges == {(WRITTEN, "a", ("b",))}
    assert found.fused.get_layer("a").output.dtype in ("int8", "uint8")


def test_queries_keys_and_values_of_one_norm_share_its_codes():
    def body(x):
        x = layers.LayerNormalization(name="norm")(x)
        q, k, v = (layers.Dense(16, name=name)(x) for name in "qkv")
        return layers.Add()([layers.Attention()([q, v, k]), x])

    found = both(graph(body))
    assert found.exchanges == {(ONCE, "norm", ("k", "q", "v"))}
    assert [layer.name for layer in layers_of(found.fused) if isinstance(layer, Quantizer)] == [
        "norm_codes"
    ]


def test_a_residual_sum_and_its_norm_are_quantized_once_for_several_readers():
    def body(x):
        x = layers.LayerNormalization(name="norm")(layers.Add()([x, layers.Dense(16)(x)]))
        attended = layers.MultiHeadAttention(2, 8, name="attention")(x, x)
        return layers.Add()([x, attended, layers.Dense(16, name="last")(x)])

    found = both(graph(body))
    assert (ONCE, "norm", ("attention", "last")) in found.exchanges


def test_every_attention_over_an_encoded_source_reads_the_same_codes():
    keras.utils.set_random_seed(3)
    ids, target = keras.Input((6,), dtype="int32"), keras.Input((4, 16))
    place = layers.Embedding(6, 16)(keras.ops.arange(6))
    source = layers.LayerNormalization(name="source")(
        layers.Embedding(20, 16, mask_zero=True)(ids) + place
    )
    x = target
    for name in ("first", "second"):
        x = layers.Add()([x, layers.MultiHeadAttention(2, 8, name=name)(x, source)])
    rng = np.random.default_rng(2)
    data = [rng.integers(0, 20, (8, 6)).astype(np.int32), X[:, :4]]
    found = both(keras.Model([ids, target], x), data)
    assert (NORM, "source", ("first", "second")) in found.exchanges


def test_a_reader_of_floats_beside_several_of_codes_keeps_its_floats():
    def body(x):
        x = layers.Dense(16, "tanh", name="a")(x)
        return layers.Add()([layers.Dense(16, name="b")(x), layers.Dense(16, name="c")(x), x])

    assert both(graph(body)).exchanges == {(ONCE, "a", ("b", "c"))}


def test_implicit_masks_reach_the_same_readers():
    """Attention takes the mask off what it reads, which with codes is no longer the embedding."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(20, 16, mask_zero=True, name="embedded")(ids)
    attended = layers.MultiHeadAttention(2, 8, name="attention")(embedded, embedded)
    x = layers.Add()([embedded, attended])
    x = layers.Add()([x, layers.Dense(16, name="dense")(embedded)])
    model = keras.Model(ids, layers.MultiHeadAttention(2, 8, name="last")(x, x))
    padded = np.random.default_rng(3).integers(1, 20, (5, 6))
    padded[:, 4:] = 0
    found = both(model, padded)
    assert (ONCE, "embedded", ("attention", "dense")) in found.exchanges


def test_the_name_of_a_new_layer_is_free():
    def body(x):
        x = layers.Identity(name="x_codes")(layers.Identity(name="x")(x))
        x = layers.Identity(name="x_codes_1")(x)
        return layers.Dense(3)(x) + layers.Dense(3)(x)

    found = both(graph(body))
    assert len({layer.name for layer in found.fused.layers}) == len(found.fused.layers)
    assert len(found.exchanges) == 1


def test_graphs_inside_a_graph_exchange_codes_too():
    inner = graph(lambda x: layers.Dense(16, name="b")(layers.Dense(24, "gelu", name="a")(x)))

    def body(x):
        return inner(inner(layers.Dense(16, name="before")(x)))

    assert both(graph(body)).exchanges == {(WRITTEN, "a", ("b",))}


# ---- where a pattern does not apply ----


class Doubling(layers.Layer):
    """Holds a layer that a graph has, too, and calls it."""

    def __init__(self, dense, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense

    def call(self, x):
        return 2.0 * self.dense(x)


def _output_twice(x):
    a = layers.Dense(16, name="a")(x)
    return [a, layers.Dense(4, name="b")(a)]


def _read_as_floats(x):
    a = layers.Dense(16, name="a")(x)
    return layers.Add()([a, layers.Dense(16, name="b")(a)])


def _shared(x):
    a = layers.Dense(16, name="a")
    return layers.Dense(4, name="b")(a(a(x)))


def _held_by_code(x):
    a = layers.Dense(16, name="a")
    return layers.Add()([Doubling(a)(x), layers.Dense(16, name="b")(a(x))])


def _activation_of_keras(x):
    return layers.Dense(4, name="b")(layers.Dense(16, "tanh", name="a")(x))


def _leaky(x):
    x = layers.ReLU(negative_slope=0.1)(layers.Dense(16, name="a")(x))
    return layers.Dense(4, name="b")(x)


def _gelu_between(x):
    return layers.Dense(4, name="b")(layers.Activation("gelu")(layers.Dense(16, name="a")(x)))


def _other_policy(x):
    return layers.Dense(4, name="b", dtype="mixed_bfloat16")(layers.Dense(16, name="a")(x))


def _other_policy_between(x):
    x = layers.Dropout(0.1, dtype="bfloat16")(layers.Dense(16, name="a")(x))
    return layers.Dense(4, name="b")(x)


def _regularized_between(x):
    x = layers.Activation("relu", activity_regularizer="l2")(layers.Dense(16, name="a")(x))
    return layers.Dense(4, name="b")(x)


def _subclass_between(x):
    class Own(layers.Dropout):
        pass

    return layers.Dense(4, name="b")(Own(0.1)(layers.Dense(16, name="a")(x)))


def _operation_between(x):
    return layers.Dense(4, name="b")(keras.ops.tanh(layers.Dense(16, name="a")(x)))


@pytest.mark.parametrize(
    "body",
    [
        _output_twice,
        _read_as_floats,
        _shared,
        _held_by_code,
        _activation_of_keras,
        _leaky,
        _gelu_between,
        _other_policy,
        _other_policy_between,
        _regularized_between,
        _subclass_between,
        _operation_between,
    ],
    ids=lambda body: body.__name__.strip("_"),
)
def test_where_floats_are_needed_the_layers_stay_as_they_are(body):
    found = both(graph(body))
    assert found.exchanges == set()
    assert found.fused.get_layer("a")(X).dtype == "float32"


def test_a_product_that_stays_float_reads_floats():
    model = graph(lambda x: layers.Dense(4, name="b")(layers.Dense(16, name="a")(x)))
    assert both(model, policy={"b": "float32"}).exchanges == set()


def test_dynamic_scales_are_found_by_each_product():
    model = graph(lambda x: layers.Dense(4, name="b")(layers.Dense(16, name="a")(x)))
    assert both(model, activations="dynamic").exchanges == set()


def test_scales_that_differ_are_not_shared():
    x = keras.Input((6, 16))
    model = keras.Model(x, [QuantDense(4, name="b")(x), QuantDense(4, name="c")(x)])
    set_state(model, "observing")
    model(X)
    settle(model, "naive")
    set_state(model, "float")
    assert {one.pattern for one in convert(model).conversion_report.exchanges} == {ONCE}
    # Seen by one of them alone.
    set_state(model, "observing")
    model.get_layer("c")(10 * X)
    settle(model, "naive")
    set_state(model, "float")
    fused, alone = convert(model), convert(model, fused=False)
    assert fused.conversion_report.exchanges == []
    for a, b in zip(fused(X), alone(X), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_inside_layers_of_the_users_own_stay_apart():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(24, "gelu"), layers.Dense(16)

        def call(self, x):
            return self.b(self.a(x))

    assert both(graph(lambda x: Block()(x))).exchanges == set()


def test_a_transformer_is_always_fused():
    sizes = {"model_dim": 8, "num_heads": 2, "ffn_dim": 16, "source_vocabulary_size": 20}
    model = build_transformer(num_encoder_layers=1, num_decoder_layers=1, **sizes)
    model({"source": np.ones((1, 2), np.int32), "target": np.ones((1, 2), np.int32)})
    with pytest.raises(ValueError, match="always fused"):
        convert(model, activations="dynamic", fused=False)


# ---- any graph ----


def random_graph(seed):
    """A graph of layers that may exchange codes and of others, with several outputs."""
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    given = keras.Input((6, 16))
    tensors = [given]

    def any_tensor():
        # The newest ones most often, so that there are chains.
        return tensors[-1 - min(int(rng.geometric(0.5)) - 1, len(tensors) - 1)]

    def several(x):
        return layers.Add()([layers.Dense(16, activations[rng.integers(5)])(x) for _ in range(3)])

    shared = layers.Dense(16)
    inner_input = keras.Input((6, 16))
    inner = keras.Model(
        inner_input, layers.Dense(16)(layers.Dense(8, "relu")(inner_input)), name="inner"
    )
    activations = [None, "relu", "gelu", "swish", "tanh"]
    makers = [
        lambda: layers.Dense(16, activations[rng.integers(5)])(any_tensor()),
        lambda: layers.Dense(16, activations[rng.integers(5)])(any_tensor()),
        lambda: layers.Dense(16)(
            layers.Dropout(0.3)(layers.Dense(24, activations[rng.integers(4)])(any_tensor()))
        ),
        lambda: layers.LayerNormalization()(layers.Add()([any_tensor(), any_tensor()])),
        lambda: layers.MultiHeadAttention(2, 8)(any_tensor(), any_tensor()),
        lambda: layers.MultiHeadAttention(2, 8)(any_tensor(), any_tensor(), any_tensor()),
        lambda: layers.EinsumDense("abc,cd->abd", (6, 16), bias_axes="d")(any_tensor()),
        lambda: several(any_tensor()),
        lambda: several(layers.LayerNormalization()(any_tensor())),
        lambda: layers.ReLU()(any_tensor()),
        lambda: layers.Permute((2, 1))(layers.Reshape((16, 6))(any_tensor())),
        lambda: shared(any_tensor()),
        lambda: inner(any_tensor()),
        lambda: keras.ops.multiply(any_tensor(), 0.5),
    ]
    for _ in range(14):
        tensors.append(makers[rng.integers(len(makers))]())
    last = layers.Dense(5)(tensors[-1])
    return keras.Model(given, [last, *(any_tensor() for _ in range(rng.integers(2)))])


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 24))]
)
def test_any_graph_gives_the_bits_of_its_layers_alone(seed, tmp_path):
    found = both(random_graph(seed))
    found.check(np.float32(30) * X)
    found.check(X[:0])
    found.check(training=True)
    found.fused.save(tmp_path / "model.keras")
    Both(keras.models.load_model(tmp_path / "model.keras"), found.alone).check()


def test_the_random_graphs_have_all_patterns():
    found = both(random_graph(0)), both(random_graph(1))
    assert {one[0] for each in found for one in each.exchanges} == {WRITTEN, NORM, ONCE}


# ---- files and the report ----


def files_model():
    def body(x):
        x = layers.LayerNormalization(name="norm")(x)
        q, k = (layers.Dense(16, name=name)(x) for name in "qk")
        x = layers.Dense(24, "gelu", name="up")(layers.Add()([x, q, k]))
        return layers.Dense(4, name="down")(layers.Dropout(0.1)(x))

    return both(graph(body))


def test_a_fused_model_loads_in_a_fresh_process(tmp_path):
    found = files_model()
    assert {one[0] for one in found.exchanges} == {WRITTEN, ONCE}
    found.fused.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", X)
    program = (
        "import keras_int8nmt, keras, numpy as np\n"
        "model = keras.models.load_model('model.keras')\n"
        "np.save('y.npy', model.predict(np.load('x.npy'), verbose=0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        np.load(tmp_path / "y.npy"), found.alone.predict(X, verbose=0), strict=True
    )


def test_a_configuration_and_weights_make_a_fused_model_anew(tmp_path):
    found = files_model()
    again = type(found.fused).from_config(found.fused.get_config())
    assert isinstance(again.get_layer("up"), Int8Dense)
    found.fused.save_weights(tmp_path / "int8.weights.h5")
    again.load_weights(tmp_path / "int8.weights.h5")
    Both(again, found.alone).check()


def test_the_report_tells_who_exchanges_codes():
    report = files_model().fused.conversion_report
    text = report.to_text()
    assert "int8 codes of up (written by the product) for down" in text
    assert "int8 codes of norm (quantized once) for " in text
    again = ConversionReport.from_json(report.to_json())
    assert again == report


@pytest.mark.parametrize(
    "wrong",
    ['"codes"', '[{"pattern": ""}]', '[{"pattern": 1, "writer": "", "readers": [], "dtype": ""}]'],
)
def test_a_report_with_other_exchanges_is_refused(wrong):
    text = '{"weight_bits": 8, "rows": [], "exchanges": ' + wrong + "}"
    with pytest.raises(ValueError, match='"exchanges" of the report must be'):
        ConversionReport.from_json(text)
