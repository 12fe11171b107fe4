# %% [markdown]
# # Find the layer that hurts
#
# INT8 costs a model too much. Which of its products is it, and what can be done? First the report
# looks at each product by itself, then `autotune` asks what the translations say. It takes about a
# minute on two cores.
#
# The model is a small Transformer that writes a row of digits backwards (`examples/toy_task.py`).

# %%
import keras
import numpy as np
import toy_task as toy

from keras_int8nmt import build_transformer, copy_weights

PAIRS, BATCH, EPOCHS = 16_000, 64, 2
sizes = {
    "source_vocabulary_size": toy.VOCABULARY_SIZE,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "model_dim": 64,
    "num_heads": 4,
    "ffn_dim": 128,
    "dropout": 0.0,
    "max_length": toy.MAX_DIGITS + 8,
    "pad_id": toy.PAD,
    "eos_id": toy.EOS,
    "start_id": toy.START,
}
keras.utils.set_random_seed(1)
plain = build_transformer(quant=False, **sizes)
inputs, labels, weights = toy.make_data(PAIRS, seed=1)
rate = toy.falling_rate(3e-3, EPOCHS * PAIRS // BATCH)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
plain.compile(keras.optimizers.Adam(rate), loss)
plain.fit(inputs, labels, sample_weight=weights, batch_size=BATCH, epochs=EPOCHS, verbose=0)
model = build_transformer(quant=True, **sizes)
copy_weights(plain, model)

# %% [markdown]
# ## A wound
#
# Nothing hurts in a model as small as this one. In large ones it is mostly outlier channels: a few
# columns of a tensor are many times larger than the others, and one scale for all of them leaves
# the small ones no levels. So some are made here, between the two products of the decoder's look at
# the source: each channel of the values is multiplied by a power of two, and what reads it divided
# by the same. In float that changes nothing.

# %%
from keras_int8nmt import Translator

digits = np.random.default_rng(7)
sources = [" ".join(map(str, digits.integers(0, 10, digits.integers(4, 9)))) for _ in range(64)]
references = [" ".join(reversed(source.split())) for source in sources]
tokenizer = toy.DigitTokenizer()


def right(model):
    """The share of rows that come out backwards and whole, in per cent."""
    with Translator(model, tokenizer, max_length=toy.MAX_DIGITS + 2) as translator:
        answers = translator(sources)
    return 100 * np.mean([a == b for a, b in zip(answers, references)])


healthy = right(model)
attention = model.decoder_blocks[0].cross_attention
value, out = attention.value_dense, attention.output_dense
factors = 2.0 ** np.random.default_rng(0).integers(0, 17, value.bias.shape).astype("float32")
value.kernel.assign(value.kernel * factors)
value.bias.assign(value.bias * factors)
out.kernel.assign(out.kernel / factors[..., np.newaxis])
print(f"float: {healthy:.1f} % right before, {right(model):.1f} % after")
assert healthy > 90
assert abs(right(model) - healthy) < 1

# %% [markdown]
# ## INT8 costs too much

# %%
from keras_int8nmt import CalibrationCallback, convert

sample, _, _ = toy.make_data(600, seed=3)
unseen, _, _ = toy.make_data(64, seed=4)
model.predict(sample, verbose=0, callbacks=[CalibrationCallback()])
int8 = convert(model, sample=unseen)
print(f"INT8: {right(int8):.1f} % right")
assert right(int8) < healthy - 10

# %% [markdown]
# ## The report
#
# Its last column is how much of each product's output is noise, in decibels, measured on the sample
# that `convert` was given. `write_report` makes a page of it, with the histogram and the thresholds
# of every tensor; `keras-int8nmt report` does that for a folder ([report.md](report.md)).

# %%
from keras_int8nmt import write_report
from keras_int8nmt.report import plot_matmuls

rows = sorted(int8.conversion_report.rows, key=lambda row: row.output_sqnr_db)
for row in rows[:5]:
    print(f"{row.name}: output {row.output_sqnr_db:.1f} dB, input {row.input_sqnr_db:.1f} dB")
plot_matmuls(int8).savefig("matmuls.png", dpi=80)
write_report(model, "report.html", converted=int8)
assert "cross_attention" in rows[0].name

# %% [markdown]
# ![The signal-to-noise ratio of the input and the output of each product](matmuls.png)
#
# The worst is the product that reads the channels: its output is as much noise as signal. Its input
# does not look as bad, since nearly all of its energy is in the large channels, and those are
# rounded well. So look at outputs. Nor can a ratio tell what becomes of the noise: what a product
# costs the answers is for the next part.
#
# ## autotune
#
# It asks how far the model's predictions move with one product alone in INT8, and searches the
# fastest set of products whose translations are good enough: a loss of at most half a point of BLEU
# here, or one that can't be told from none on these sentences.

# %%
from keras_int8nmt import autotune

search = {"max_length": toy.MAX_DIGITS + 2}
result = autotune(model, sources, references, tokenizer=tokenizer, tolerance=0.5, search=search)
print(result.to_text())
assert result.floats
assert all("cross_attention" in name for name in result.floats)

# %% [markdown]
# The result is a policy of `convert`, and `to_json` a file that `keras-int8nmt convert --policy`
# takes. All else is INT8.

# %%
tuned = convert(model, policy=result)
print(f"{right(tuned):.1f} % right with", *result.floats, "in float32")
assert right(tuned) > healthy - 2

# %% [markdown]
# ## Or mend it
#
# Outlier channels can be moved into the weights, which have a scale for each of their columns:
# `balance` does it, without a change of the float function. As one more candidate it is tried
# before anything is left in float.

# %%
from keras_int8nmt.autotuning.candidates import PLAIN, balanced_candidate

sentences = [tokenizer.decode(list(row)) for row in sample["source"][:200]]
balanced = balanced_candidate(tokenizer, sentences)
result = autotune(
    model,
    sources,
    references,
    tokenizer=tokenizer,
    tolerance=0.5,
    search=search,
    candidates=(PLAIN, balanced),
)
print(result.to_text())
mended = result.convert(model)
print(f"{right(mended):.1f} % right, all in {mended.conversion_report.precision}")
assert mended.conversion_report.precision == "int8"
assert right(mended) > healthy - 2

# %% [markdown]
# Choose on sentences that are no test set, and score the result once more on others: a search
# favours what was lucky. How it searches, and what counts as a loss: [autotune.md](autotune.md).
