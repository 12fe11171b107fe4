# %% [markdown]
# # Fine-tune with learned thresholds
#
# Where calibration alone costs too much, a model can go on training as INT8: it rounds and clips
# while it trains, and its thresholds are trained weights. It takes about a minute on two cores.
#
# The model says where the hand of a robot is, an arm of two links of 300 and 200 mm, from the sines
# and cosines of its two angles. A small network learns that to a few millimetres, and in such a
# number eight bits show. `examples/fine_tune.py` does the same with a Transformer.

# %%
import keras
import numpy as np
from toy_task import falling_rate

LINKS = np.array([0.3, 0.2])


def arms(count, seed):
    """Sines and cosines [count, 4] of the angles, and where the hand is, in metres, [count, 2]."""
    angles = np.random.default_rng(seed).uniform(-np.pi, np.pi, (count, 2))
    directions = np.cumsum(angles, axis=1)
    places = np.stack([np.cos(directions) @ LINKS, np.sin(directions) @ LINKS], axis=1)
    inputs = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return inputs.astype("float32"), places.astype("float32")


x, y = arms(8_192, seed=1)
test_x, test_y = arms(2_000, seed=2)
BATCH = 64


def train(model, rate, epochs):
    model.compile(keras.optimizers.Adam(falling_rate(rate, epochs * len(x) // BATCH)), "mse")
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)


def error(model):
    """How far the hand is from where the model says, in mm, root mean square."""
    distance = np.linalg.norm(model.predict(test_x, verbose=0) - test_y, axis=1)
    return 1000 * np.sqrt(np.mean(np.square(distance)))


keras.utils.set_random_seed(1)
plain = keras.Sequential(
    [
        keras.Input((4,)),
        keras.layers.Dense(64, activation="relu", name="first"),
        keras.layers.Dense(64, activation="relu", name="second"),
        keras.layers.Dense(2, name="hand"),
    ]
)
train(plain, rate=3e-3, epochs=30)
errors = {"float": error(plain)}
print(f"float: {errors['float']:.2f} mm")

# %% [markdown]
# ## Calibration alone
#
# Try what costs nothing first: several modes. Thresholds are chosen for the numbers of a layer as
# they are; what the error of the answer will be they can't know. Weights have eight bits throughout
# here: on some CPUs `convert` takes seven where it isn't told, which are faster there.

# %%
from keras_int8nmt import CalibrationCallback, convert, quantize_model

for mode in ("independent", "naive", "mse"):
    quant = quantize_model(plain)
    quant.predict(x[:1000], verbose=0, callbacks=[CalibrationCallback(mode=mode)])
    errors[mode] = error(convert(quant, weight_bits=8))
    print(f"INT8, {mode}: {errors[mode]:.2f} mm")

# %% [markdown]
# ## Train as INT8
#
# `prepare_training` begins with the thresholds that calibration chose. The other weights train at
# the rate that `compile` is given, thresholds ten times as fast: they are few, and their gradients
# are those of their logarithms. `fit` is Keras' own.

# %%
from keras_int8nmt import prepare_training
from keras_int8nmt.calibration import observers

keras.utils.set_random_seed(2)
quant = quantize_model(plain)
quant.predict(x[:1000], verbose=0, callbacks=[CalibrationCallback()])
before = {path: observer.thresholds() for path, observer in observers(quant)}
histograms = {path: observer.to_histogram() for path, observer in observers(quant)}

prepare_training(quant, threshold_rate=10.0)
train(quant, rate=1e-3, epochs=6)
int8 = convert(quant, weight_bits=8)
errors["learned"] = error(int8)
print(f"INT8, learned: {errors['learned']:.2f} mm")

after = {path: observer.thresholds() for path, observer in observers(quant)}
for path in before:
    print(
        path,
        "{:.3f} to {:.3f}".format(*before[path]),
        "->",
        "{:.3f} to {:.3f}".format(*after[path]),
    )
assert any(np.abs(np.subtract(after[path], before[path])).max() > 1e-3 for path in before)

# %% [markdown]
# What was trained is what runs: the model that trained rounds and clips as the converted one does.

# %%
print(f"as it trained: {error(quant):.2f} mm, converted: {errors['learned']:.2f} mm")
assert abs(error(quant) - errors["learned"]) < 0.1

# %% [markdown]
# ## Was it the thresholds, or only more training?
#
# The float model trains on for as long and at the same rate, and is calibrated in each mode.

# %%
keras.utils.set_random_seed(2)
longer = keras.models.clone_model(plain)
longer.set_weights(plain.get_weights())
train(longer, rate=1e-3, epochs=6)
errors["float, longer"] = error(longer)
print(f"float, trained for longer: {errors['float, longer']:.2f} mm")
for mode in ("independent", "naive", "mse"):
    other = quantize_model(longer)
    other.predict(x[:1000], verbose=0, callbacks=[CalibrationCallback(mode=mode)])
    errors[f"{mode}, longer"] = error(convert(other, weight_bits=8))
    print(f"INT8, {mode}, trained for longer: {errors[f'{mode}, longer']:.2f} mm")
calibrated = ("independent", "naive", "mse")
assert errors["learned"] < 0.97 * min(errors[mode] for mode in calibrated)
# How far each training came differs a little from CPU to CPU.
assert errors["learned"] < 1.03 * min(errors[f"{mode}, longer"] for mode in calibrated)

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(9, 3.2), layout="constrained")
bars, counts = figure.subplots(1, 2, width_ratios=(3, 4))
colours = ["#c2410c" if name == "learned" else "#8b95a1" for name in errors]
bars.barh(list(errors), list(errors.values()), color=colours)
bars.invert_yaxis()
bars.set_xlabel("error, mm")
path = next(path for path in histograms if "hand" in path)
histogram = histograms[path]
edges = histogram.width * (np.arange(len(histogram.counts)) - len(histogram.counts) // 2)
seen = histogram.counts > 0
counts.bar(edges[seen], histogram.counts[seen], histogram.width, align="edge", color="#8b95a1")
counts.axvline(before[path][1], color="#1d4ed8", linestyle="--", label="calibrated threshold")
counts.axvline(after[path][1], color="#c2410c", label="learned threshold")
counts.set_yscale("log")
counts.set_xlabel("input of the last layer")
counts.set_ylabel("values in calibration")
counts.legend(frameon=False)
figure.savefig("errors.png", dpi=80)

# %% [markdown]
# ![The error of each model, and the thresholds of the last layer over what it sees](errors.png)
#
# Rates, what is trained exactly, saving half-way and models of TensorFlow Model Optimization:
# [qat.md](qat.md).
