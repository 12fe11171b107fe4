# %% [markdown]
# # A Keras model of your own in INT8
#
# A plain Functional Keras model, with a layer that its author wrote, is trained here and becomes
# INT8 without a change of its code: `quantize_model`, a look at some data, `convert`. It takes less
# than a minute on two cores. With a trained model of your own begin at "Quant layers".
#
# The model tells from ten characters, cut out anywhere, whether they are English or German. Its
# data are the sentence pairs that the package brings; one in four is kept for the test.

# %%
import random

import numpy as np

from keras_int8nmt.storage.builtin import read_pairs

WIDTH = 10
pairs = [pair for part in read_pairs() for pair in part if min(map(len, pair)) >= WIDTH]
alphabet = sorted({character for pair in pairs for text in pair for character in text})
number = {character: i for i, character in enumerate(alphabet)}
generator = random.Random(1)


def pieces(pairs, count):
    """Ids of characters, and 0 for English, 1 for German."""
    ids, labels = [], []
    for label in (generator.choice((0, 1)) for _ in range(count)):
        text = generator.choice(pairs)[label]
        first = generator.randint(0, len(text) - WIDTH)
        ids.append([number[character] for character in text[first : first + WIDTH]])
        labels.append(label)
    return np.array(ids, "int32"), np.array(labels, "int32")


tests = pairs[::4]
x, y = pieces([pair for pair in pairs if pair not in tests], 8_000)
test_x, test_y = pieces(tests, 1_000)
for ids, label in zip(test_x[:3], test_y):
    print("".join(alphabet[i] for i in ids), "->", ("English", "German")[label])

# %% [markdown]
# ## The model
#
# Layers of Keras, and `Block`, which has an attention and two dense layers inside. It says nothing
# of INT8. That its configuration tells which layers it holds is what Keras asks of such a layer
# before the model can be loaded without the code that built it, and is needed at the end alone.

# %%
import keras
from keras import layers


@keras.saving.register_keras_serializable("tutorial")
class Block(layers.Layer):
    """Attention, then two dense layers; what goes in is added to what comes out."""

    def __init__(self, attention, hidden, out, **kwargs):
        super().__init__(**kwargs)
        self.attention, self.hidden, self.out = attention, hidden, out

    def call(self, x):
        x = x + self.attention(x, x)
        return x + self.out(self.hidden(x))

    def get_config(self):
        held = {name: getattr(self, name) for name in ("attention", "hidden", "out")}
        told = {name: keras.saving.serialize_keras_object(layer) for name, layer in held.items()}
        return {**super().get_config(), **told}

    @classmethod
    def from_config(cls, config):
        for name in ("attention", "hidden", "out"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


keras.utils.set_random_seed(1)
inputs = keras.Input((WIDTH,), dtype="int32")
hidden = layers.Embedding(len(alphabet), 32, name="characters")(inputs)
hidden = layers.Conv1D(64, 5, padding="same", activation="relu", name="letters")(hidden)
hidden = Block(
    layers.MultiHeadAttention(4, 16, name="attention"),
    layers.Dense(128, activation="relu", name="hidden"),
    layers.Dense(64, name="out"),
    name="block",
)(hidden)
hidden = layers.GlobalMaxPooling1D(name="pool")(hidden)
model = keras.Model(inputs, layers.Dense(2, name="language")(hidden), name="languages")

EPOCHS, BATCH = 3, 64
rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * len(x) // BATCH)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(rate), loss)
history = model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
print("loss:", *(f"{each:.2f}" for each in history.history["loss"]))

# %% [markdown]
# ## Quant layers
#
# `quantize_model` makes a new model of the same weights, in which each layer that can become INT8
# is one that can be calibrated, those inside `Block` too. Its report names the layers that stay as
# they are, and why: here the convolution.

# %%
from keras_int8nmt import quantize_model

quant = quantize_model(model)
print(quant.quantization_report.to_text())
assert [row.layer_type for row in quant.quantization_report.left] == ["Conv1D"]
difference = np.abs(quant.predict(test_x, verbose=0) - model.predict(test_x, verbose=0)).max()
print(f"largest difference between the outputs: {difference:.1e}")
assert difference < 1e-3

# %% [markdown]
# ## Calibrate
#
# The callback watches what `predict` runs over, then chooses thresholds. No labels are needed, and
# a few hundred examples of what the model will see are enough. It still computes in float.

# %%
from keras_int8nmt import CalibrationCallback

calibration = CalibrationCallback()
quant.predict(x[:500], verbose=0, callbacks=[calibration])
for path, (low, high) in calibration.thresholds.items():
    print(f"{path}: {low:.2f} to {high:.2f}")

# %% [markdown]
# ## Convert
#
# The INT8 model is a new one. With a sample, which should not be the one that chose the thresholds,
# the report also says how much of each product's output is noise: 20 dB are a hundredth of its
# energy. The last line counts the multiplications.

# %%
from keras_int8nmt import convert
from keras_int8nmt.report import plot_matmuls

int8 = convert(quant, sample=x[500:564])
report = int8.conversion_report
print(report.to_text())
plot_matmuls(int8).savefig("matmuls.png", dpi=80)
assert {row.precision for row in report.rows if "letters" not in row.name} == {"int8"}
assert report.multiplications.int8_share > 0.5

# %% [markdown]
# ![The signal-to-noise ratio of the input and the output of each product](matmuls.png)
#
# ## What did it cost?
#
# On pieces of sentences that no training and no calibration saw. The third line needs no
# calibration at all: each row of a product's input has a scale of its own, found as it runs.

# %%
dynamic = convert(quantize_model(model), activations="dynamic")
answers = {
    name: each.predict(test_x, verbose=0).argmax(-1)
    for name, each in (("float", model), ("INT8", int8), ("INT8, dynamic", dynamic))
}
right = {name: np.mean(answer == test_y) for name, answer in answers.items()}
for name, answer in answers.items():
    same = np.mean(answer == answers["float"])
    print(f"{name}: {100 * right[name]:.1f} % right, {100 * same:.1f} % as in float")
    assert same > 0.97
assert right["float"] > 0.85

# %% [markdown]
# ## Save and load
#
# `Block` tells of the layers that it holds, so an ordinary `.keras` file takes the INT8 model and
# gives it back to the bit. Without its `get_config` saving would be an error that names the layer;
# [any-keras-model.md](any-keras-model.md) has the other way, for code that can't be changed, and
# what `filters` are for: layers that are to stay float.

# %%
int8.save("languages-int8.keras")
loaded = keras.models.load_model("languages-int8.keras")
np.testing.assert_array_equal(loaded.predict(test_x, verbose=0), int8.predict(test_x, verbose=0))
print("what was loaded gives the same", len(test_x), "answers, to the bit")
print(*(type(layer).__name__ for layer in loaded.layers))
