"""Models of the real TensorFlow Model Optimization, imported and converted."""

from __future__ import annotations

import importlib.util
import os

import keras
import numpy as np
import pytest

from keras_int8nmt import convert, from_tfmot, prepare_training, simulate
from keras_int8nmt.calibration import observers
from keras_int8nmt.layers.quant_dense import QuantDense

# Both packages use names that newer ones of Python and TensorFlow warn of.
pytestmark = pytest.mark.filterwarnings("default")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 8)).astype(np.float32)
Y = np.stack([np.sin(X[:, 0] * X[:, 1]), X[:, 2] - X[:, 3], np.tanh(X[:, 4]), X.mean(1)], 1)
SEQUENCES = RNG.normal(size=(256, 6, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def packages():
    """`(tf_keras, tfmot.quantization.keras)`."""
    for name in ("tf_keras", "tensorflow_model_optimization"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    before = os.environ.get("TF_USE_LEGACY_KERAS")
    import tensorflow_model_optimization as tfmot
    import tf_keras

    # The package sets it for its own use; the processes of other tests do without.
    if before is None:
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
    return tf_keras, tfmot.quantization.keras


def train(tf_keras, model, x, epochs=12):
    model.compile(tf_keras.optimizers.Adam(0.01), "mse")
    model.fit(x, Y, batch_size=16, epochs=epochs, verbose=0)
    return model


@pytest.fixture(scope="module")
def mlp(packages):
    """A trained model with learned ranges and a fixed one, that of tanh."""
    tf_keras, quantization = packages
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input((8,)),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.1),
            layers.Dense(24, activation="tanh"),
            layers.Dense(16),
            layers.Dense(4),
        ],
        name="mlp",
    )
    return train(tf_keras, quantization.quantize_model(model), X)


def output_config(quantization):
    """How a layer is quantized that `quantize_model` knows nothing of: its output."""

    class Config(quantization.QuantizeConfig):
        def get_weights_and_quantizers(self, layer):
            return []

        def get_activations_and_quantizers(self, layer):
            return []

        def set_quantize_weights(self, layer, quantize_weights):
            pass

        def set_quantize_activations(self, layer, quantize_activations):
            pass

        def get_output_quantizers(self, layer):
            return []

        def get_config(self):
            return {}

    class OutputConfig(Config):
        def get_output_quantizers(self, layer):
            return [quantization.quantizers.MovingAverageQuantizer(8, False, False, False)]

    return OutputConfig()


@pytest.fixture(scope="module")
def graph(packages):
    """A trained Functional model with two branches and annotated layers."""
    tf_keras, quantization = packages
    tf_keras.utils.set_random_seed(0)
    layers, annotate = tf_keras.layers, quantization.quantize_annotate_layer
    normed = output_config(quantization)

    given = tf_keras.Input((6, 5))
    x = annotate(layers.LayerNormalization(name="norm"), normed)(given)
    x = annotate(layers.Dense(16, activation="relu", name="first"))(x)
    x = annotate(layers.GlobalAveragePooling1D(name="mean"))(x)
    left = annotate(layers.Dense(12, activation="gelu", name="left"))(x)
    right = annotate(layers.Dense(12, name="right"))(x)
    right = annotate(layers.BatchNormalization(name="batch_norm"))(right)
    right = annotate(layers.ReLU(name="relu"))(right)
    x = annotate(layers.Add(name="sum"))([left, right])
    x = annotate(layers.Concatenate(name="both"))([x, left])
    x = annotate(layers.Dense(8, activation="sigmoid", name="gate"))(x)
    model = tf_keras.Model(given, layers.Dense(4, name="last")(x), name="graph")
    with quantization.quantize_scope({"OutputConfig": type(normed)}):
        return train(tf_keras, quantization.quantize_apply(model), SEQUENCES)


def variables(layer):
    return {w.name.partition(":")[0].rpartition("/")[2]: w for w in layer.weights}


def learned(layer):
    return [float(variables(layer)[f"post_activation_{end}"]) for end in ("min", "max")]


def output_step(layer):
    low, high = learned(layer)
    return (high - low) / 255


def test_thresholds_are_the_learned_ranges(mlp):
    model = from_tfmot(mlp)
    found = {path.partition("/")[0]: o for path, o in observers(model)}
    first, _, second, third, last = mlp.layers[1:]
    quantized_input = variables(mlp.layers[0])
    expected = {
        first.layer.name: [float(v) for k, v in quantized_input.items() if k[-4:-3] == "_"],
        second.layer.name: learned(first),
        third.layer.name: [-1.0, 1.0],
        last.layer.name: learned(third),
    }
    assert found.keys() == expected.keys()
    for name, thresholds in expected.items():
        np.testing.assert_allclose(found[name].thresholds(), thresholds, rtol=1e-6)
    # They were learned: quantize_model begins at -6 and 6.
    assert expected[last.layer.name][1] < 5.9
    dtypes = [o.params().dtype for o in found.values()]
    assert dtypes == ["uint8", "uint8", "int8", "uint8"]
    assert [o.params().zero_point > 0 for o in found.values()] == [True, True, False, True]


def test_int8_predictions_are_those_of_the_trained_model_within_its_own_steps(mlp):
    expected = mlp.predict(X, verbose=0)
    int8 = convert(from_tfmot(mlp))
    assert int8.conversion_report.precision == "int8"
    steps = np.abs(int8.predict(X, verbose=0) - expected) / output_step(mlp.layers[-1])
    # Half a step is the rounding of its output, which ours leaves float.
    assert np.median(steps) < 1.0
    assert steps.max() < 4.0
    assert np.mean((expected - Y) ** 2) < 0.5 * np.var(Y)


def test_simulation_rounds_at_the_same_places(packages, mlp):
    """Where columns share their largest weight only ties differ, and what reads tanh."""
    tf_keras, quantization = packages
    with quantization.quantize_scope():
        clone = tf_keras.models.clone_model(mlp)
    clone.set_weights(mlp.get_weights())
    for layer in clone.layers[1:]:
        own = variables(layer)
        if "kernel" in own:
            kernel = own["kernel"].numpy()
            kernel[0] = np.abs(kernel).max()
            own["kernel"].assign(kernel)
            own["kernel_min"].assign(-kernel.max())
            own["kernel_max"].assign(kernel.max())
    ends = variables(clone.layers[-1])
    model = from_tfmot(clone)
    simulate(model)
    import tensorflow as tf

    rounded = tf.quantization.fake_quant_with_min_max_vars(
        model.predict(X, verbose=0), ends["post_activation_min"], ends["post_activation_max"]
    )
    # The tanh before the third layer is rounded in ours alone, as in INT8, and not in training.
    steps = np.abs(rounded - clone.predict(X, verbose=0)) / output_step(clone.layers[-1])
    assert np.mean(steps < 0.5) > 0.6
    assert steps.max() < 2.5


def test_a_functional_model_with_annotated_layers(graph):
    model = from_tfmot(graph)
    kinds = {layer.name: type(layer) for layer in model.layers}
    assert kinds["norm"] is keras.layers.LayerNormalization
    assert kinds["first"] is kinds["left"] is kinds["right"] is kinds["gate"] is QuantDense
    # It was not annotated, so it stays float.
    assert kinds["last"] is keras.layers.Dense
    expected = graph.predict(SEQUENCES, verbose=0)
    scale = np.abs(expected).max()
    assert np.corrcoef(model.predict(SEQUENCES, verbose=0).ravel(), expected.ravel())[0, 1] > 0.97
    int8 = convert(model)
    assert int8.conversion_report.precision == "mixed"
    # The trained model rounds sums and means as well, to ranges that still shrink from 12.
    error = np.abs(int8.predict(SEQUENCES, verbose=0) - expected)
    assert np.median(error) < 0.03 * scale
    assert error.max() < 0.2 * scale
    simulate(model)
    simulated = model.predict(SEQUENCES, verbose=0)
    # Norm and last layer stay float: where their sums differ in the last bit, which they do by
    # CPU, a code beside an edge may be the next one, and its readers move by some of a step.
    apart = np.abs(int8.predict(SEQUENCES, verbose=0) - simulated)
    assert np.mean(apart > 0.005 * scale) < 0.01
    assert apart.max() < 0.03 * scale


@pytest.mark.parametrize("name", ["mlp.h5", "mlp"])
def test_a_saved_model_is_read_and_trains_on(mlp, tmp_path, name):
    path = tmp_path / name
    mlp.save(path)
    model = from_tfmot(path)
    np.testing.assert_array_equal(
        model.predict(X, verbose=0), from_tfmot(mlp).predict(X, verbose=0)
    )
    prepare_training(model)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    losses = model.fit(X, Y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert len(convert(model).conversion_report.rows) == 4


def test_a_file_that_tf_keras_itself_does_not_read_back_is_named(mlp, tmp_path):
    path = tmp_path / "mlp.keras"
    mlp.save(path)
    with pytest.raises(ValueError, match=r"can't load '.*mlp\.keras': .*reads back .h5"):
        from_tfmot(path)


def test_layers_that_cannot_be_imported_are_all_named(packages):
    tf_keras, quantization = packages
    layers = tf_keras.layers
    given = tf_keras.Input((8, 3))
    x = layers.GaussianNoise(0.1, name="first_noise")(given)
    x = layers.LSTM(4, name="memory")(x)
    x = quantization.quantize_annotate_layer(layers.Dense(4, name="dense"))(x)
    model = quantization.quantize_apply(tf_keras.Model(given, x))
    with pytest.raises(ValueError, match=r"first_noise \(GaussianNoise\)") as error:
        from_tfmot(model)
    assert "memory (LSTM)" in str(error.value)
    assert "dense" not in str(error.value).partition("known")[0]


IMAGES = RNG.normal(size=(256, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def digits(packages):
    """The model of the package's own first example, on smaller images; trained."""
    tf_keras, quantization = packages
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.InputLayer(input_shape=(8, 8)),
            layers.Reshape(target_shape=(8, 8, 1)),
            layers.Conv2D(filters=6, kernel_size=(3, 3), activation="relu", name="conv"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dense(4, name="logits"),
        ],
        name="digits",
    )
    return train(tf_keras, quantization.quantize_model(model), IMAGES)


def test_convolutions_stay_float_and_are_listed(digits):
    with pytest.warns(UserWarning, match=r"'digits'.*they stay float: conv \(Conv2D\)\.$"):
        model = from_tfmot(digits)
    kinds = {layer.name: type(layer) for layer in model.layers}
    assert kinds["conv"] is keras.layers.Conv2D
    assert kinds["logits"] is QuantDense
    # The range of the convolution's output, through pooling and flattening.
    conv = next(layer for layer in digits.layers if layer.name == "quant_conv")
    ((_, observer),) = observers(model)
    np.testing.assert_allclose(observer.thresholds(), learned(conv), rtol=1e-6)
    expected = digits.predict(IMAGES, verbose=0)
    int8 = convert(model)
    assert [row.precision for row in int8.conversion_report.rows if "logits" in row.name] == [
        "int8"
    ]
    # The kernel of the convolution is rounded there alone.
    steps = np.abs(int8.predict(IMAGES, verbose=0) - expected) / output_step(digits.layers[-1])
    assert np.median(steps) < 1.5


def test_a_network_of_convolutions_computes_what_it_did(packages):
    """Two axes throughout, with the layers that follow a convolution."""
    tf_keras, quantization = packages
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    given = tf_keras.Input((8, 8, 2))
    x = layers.ZeroPadding2D(((0, 1), (1, 0)), name="pad")(given)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="batch_norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = layers.UpSampling2D(name="up")(x)
    x = layers.AveragePooling2D(name="average")(x)
    x = layers.SpatialDropout2D(0.1, name="drop")(layers.Cropping2D(1, name="crop")(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = tf_keras.Model(given, layers.Dense(4, name="last")(x), name="network")
    for variable in model.variables:
        variable.assign(RNG.uniform(0.2, 0.8, variable.shape) * RNG.choice([-1, 1], variable.shape))
    model.get_layer("batch_norm").moving_variance.assign(RNG.uniform(0.5, 2, 4))
    images = RNG.normal(size=(16, 8, 8, 2)).astype(np.float32)
    # A plain model, to the last bits: nothing is rounded, and nothing to be listed.
    found = from_tfmot(model).predict(images, verbose=0)
    np.testing.assert_allclose(found, model.predict(images, verbose=0), rtol=1e-4, atol=1e-5)
    quantized = quantization.quantize_model(model)
    with pytest.warns(UserWarning, match=r"conv \(Conv2D\), depthwise \(DepthwiseConv2D\)"):
        imported = from_tfmot(quantized)
    assert isinstance(imported.get_layer("last"), QuantDense)
    np.testing.assert_allclose(imported.predict(images, verbose=0), found, rtol=1e-4, atol=1e-5)


def of_own(tf_keras, quantization):
    """A subclass of Dense and a layer of one's own, with the configs of the package's guide."""

    class Plainly(tf_keras.layers.Dense):
        pass

    class Gated(tf_keras.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, shape):
            self.kernel = self.add_weight("kernel", (shape[-1], self.units))
            self.bias = self.add_weight("bias", (self.units,), initializer="ones")

        def call(self, inputs):
            import tensorflow as tf

            return tf.nn.relu(inputs @ self.kernel + self.bias)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class KernelConfig(type(output_config(quantization))):
        def get_weights_and_quantizers(self, layer):
            quantizer = quantization.quantizers.LastValueQuantizer(8, False, True, True)
            return [(layer.kernel, quantizer)]

        def set_quantize_weights(self, layer, quantize_weights):
            (layer.kernel,) = quantize_weights

    return Plainly, Gated, KernelConfig


def test_layers_of_ones_own_with_a_config(packages):
    tf_keras, quantization = packages
    tf_keras.utils.set_random_seed(0)
    plainly, gated, config = of_own(tf_keras, quantization)
    annotate = quantization.quantize_annotate_layer
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((8,)),
            annotate(plainly(16, activation="relu", name="plainly"), config()),
            annotate(gated(8, name="gated"), config()),
            annotate(tf_keras.layers.Dense(4, name="last")),
        ],
        name="own",
    )
    with quantization.quantize_scope({"Plainly": plainly, "Gated": gated, "KernelConfig": config}):
        quantized = train(tf_keras, quantization.quantize_apply(model), X)
    with pytest.raises(ValueError, match=r"gated \(Gated\): only .* `custom_layers` names"):
        from_tfmot(quantized)

    def dense(layer):
        return keras.layers.Dense(layer.units, activation="relu", name=layer.name)

    with pytest.warns(UserWarning, match=r"they stay float: gated \(Gated\)\.$"):
        imported = from_tfmot(quantized, custom_layers={"Gated": dense})
    kinds = {layer.name: type(layer) for layer in imported.layers}
    assert kinds["plainly"] is kinds["last"] is QuantDense
    # Or one that can become INT8: then the ranges on both sides are thresholds.
    imported = from_tfmot(
        quantized,
        custom_layers={"Gated": lambda layer: QuantDense(8, activation="relu", name="gated")},
    )
    assert len(observers(imported)) == 3
    expected = quantized.predict(X, verbose=0)
    error = np.abs(convert(imported).predict(X, verbose=0) - expected)
    assert np.median(error) < 0.03 * np.abs(expected).max()
    with pytest.raises(ValueError, match=r"gated \(Gated\) has a weight 'kernel' of shape"):
        from_tfmot(quantized, custom_layers={"Gated": lambda layer: QuantDense(9)})
    with pytest.raises(TypeError, match="must be a layer of Keras 3"):
        from_tfmot(quantized, custom_layers={"Gated": lambda layer: layer})


def test_a_subclass_that_computes_something_else_is_refused(packages):
    tf_keras, _ = packages

    class Doubled(tf_keras.layers.Dense):
        def call(self, inputs):
            return 2.0 * super().call(inputs)

    model = tf_keras.Sequential([tf_keras.layers.Input((8,)), Doubled(4, name="twice")])
    with pytest.raises(ValueError, match=r"twice \(Doubled\): only"):
        from_tfmot(model)


def legacy_activations(tf_keras):
    """Names that legacy Keras takes as an activation, those included that it has of TensorFlow."""
    functions = {"get", "serialize", "deserialize"}
    names = {name for name in dir(tf_keras.activations) if name[0] != "_"} - functions
    return sorted(names | {"leaky_relu", "relu6", "silu"})


def test_an_activation_is_imported_as_it_is_or_refused(packages):
    tf_keras, _ = packages
    refused, names = {}, legacy_activations(tf_keras)
    for name in names:
        tf_keras.utils.set_random_seed(0)
        model = tf_keras.Sequential(
            [
                tf_keras.layers.Input((8,)),
                tf_keras.layers.Dense(5, activation=name),
                tf_keras.layers.Activation(name),
            ]
        )
        try:
            found = from_tfmot(model).predict(3 * X, verbose=0)
        except ValueError as error:
            refused[name] = str(error)
        else:
            expected = model.predict(3 * X, verbose=0)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert refused.keys() == {"hard_sigmoid"}
    assert refused["hard_sigmoid"].count("its activation is hard_sigmoid;") == 2
    assert len(names) > 15


def test_functions_of_tensorflow_itself_are_imported(packages):
    tf_keras, quantization = packages
    import tensorflow as tf

    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input((8,)), layers.Dense(5, activation=tf.nn.relu)])
    found = from_tfmot(quantization.quantize_model(model))
    assert found.layers[-1].activation is keras.activations.relu


def test_a_function_that_has_the_name_of_an_activation_is_refused(packages):
    """Wrapped by `quantize_model`, which goes by the name, and alone; so is an object."""
    tf_keras, quantization = packages
    import tensorflow as tf

    layers = tf_keras.layers

    def relu(x):
        return tf.nn.relu(x) + 0.5

    class Tanh:
        activation = staticmethod(tf_keras.activations.tanh)

        def __call__(self, x):
            return 2.0 * self.activation(x)

    model = tf_keras.Sequential(
        [layers.Input((8,)), layers.Dense(5, activation=relu, name="odd"), layers.Dense(4)]
    )
    with quantization.quantize_scope({"relu": relu}):
        quantized = quantization.quantize_model(model)
    assert quantized.layers[1].layer.activation.activation is relu
    for one in (model, quantized):
        with pytest.raises(ValueError, match=r"odd \(Dense\): its activation is relu;"):
            from_tfmot(one)
    model = tf_keras.Sequential([layers.Input((8,)), layers.Dense(5, activation=Tanh())])
    with pytest.raises(ValueError, match="its activation is Tanh;"):
        from_tfmot(model)


def test_a_tensor_without_a_learned_range_is_named(packages):
    tf_keras, quantization = packages
    layers = tf_keras.layers
    given = tf_keras.Input((8,))
    x = layers.LayerNormalization(name="plain_norm")(given)
    x = quantization.quantize_annotate_layer(layers.Dense(4, name="reader"))(x)
    with quantization.quantize_scope():
        model = quantization.quantize_apply(tf_keras.Model(given, x))
    with pytest.raises(ValueError, match=r"reader \(Dense\) reads, the output of plain_norm"):
        from_tfmot(model)


def test_other_models_are_refused(packages):
    with pytest.raises(TypeError, match="tf_keras"):
        from_tfmot(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))


def test_where_the_package_is_absent_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tensorflow_model_optimization.*keras-int8nmt\[tfmot\]"):
        from_tfmot(None)
