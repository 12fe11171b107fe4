# %% [markdown]
# # The paper, section by section
#
# This package began as *Efficient 8-Bit Quantization of Transformer Neural Machine Language
# Translation Model* (Bhandare et al. 2019, arXiv 1906.00532). Here is what each of its sections
# asks for, in small, on the model inside this package, and what the paper measured beside what is
# measured here. Theirs is Transformer base on WMT English-German, a Xeon of Intel with AVX512-VNNI,
# and TensorFlow with MKL; our figures are of the commands and machines that the linked pages name.

# %%
import numpy as np

from keras_int8nmt import MarianTokenizer, Translator, calibrate, convert
from keras_int8nmt.storage.builtin import FOLDER, load_builtin, read_pairs

model, tokenizer = load_builtin(), MarianTokenizer(FOLDER)
sample, others = read_pairs()
sources, references = map(list, zip(*others))
calibrate(model, tokenizer, [source for source, _ in sample[:64]], mode="symmetric")

# %% [markdown]
# ## Which values 8 bits stand for (section 4.1)
#
# A scale and a zero point turn a float into a whole number of 8 bits. What lies within the
# thresholds is wrong by half a step at most; what lies beyond is clipped to them.

# %%
from keras_int8nmt.quantization import dequantize, params_from_thresholds, quantize

params = params_from_thresholds(-1.0, 3.0, symmetric=False)
x = np.array([-2.0, -1.0, 0.0, 0.01, 1.5, 3.0, 7.0], np.float32)
codes = quantize(x, params)
print(codes, f"{params.dtype}, 0.0 is {params.zero_point}, a step {params.inv_scale:.4f}")
errors = np.abs(dequantize(codes, params) - np.clip(x, -1, 3))
assert errors.max() <= params.inv_scale / 2 + 1e-6
assert dequantize(codes, params)[2] == 0.0

# %% [markdown]
# ## Three kinds of tensors (section 4.2, figure 2)
#
# Calibration counts the values of every MatMul's input in a histogram. The paper tells *sparse*,
# *Gaussian* and *narrow* ones apart and does not quantize the sparse ones. The sparse ones are what
# ReLU leaves. Here they are quantized as well, since as uint8 they have all 256 levels on the one
# side that they have ([calibration.md](calibration.md#uint8-or-int8-where-nothing-is-negative)).
# This small model has no narrow ones.

# %%
from collections import Counter

from keras_int8nmt.calibration import classify, observers

calibrated = {path: observer for path, observer in observers(model) if observer.is_calibrated}
histograms = {path: observer.to_histogram() for path, observer in calibrated.items()}
kinds = {path: classify(histogram) for path, histogram in histograms.items()}
print(Counter(kinds.values()))
sparse = [path for path, kind in kinds.items() if kind == "sparse"]
print(*sparse, sep="\n")
assert all("ffn_out" in path for path in sparse)
assert len(sparse) == 6  # one a layer

# %% [markdown]
# ## Thresholds by KL divergence (section 4.2)
#
# *Naive* takes the smallest and the largest value. The other three modes clip: they look for the
# threshold at which the distribution of what 8 bits can say is nearest to what was seen, by
# Kullback-Leibler divergence. *Symmetric* looks at magnitudes, *independent* at each side of zero
# by itself, *conjugate* takes the larger of those two for both.

# %%
from keras_int8nmt.calibration import clipped_mass, find_thresholds

# A Gaussian one, of which symmetric thresholds clip the most.
path, histogram = max(
    ((path, histograms[path]) for path, kind in kinds.items() if kind == "gaussian"),
    key=lambda each: clipped_mass(each[1], *find_thresholds(each[1], "symmetric")),
)
found = {}
print(path)
for mode in ("naive", "symmetric", "independent", "conjugate"):
    found[mode] = find_thresholds(histogram, mode)
    low, high = found[mode]
    print(f"{mode:12} {low:8.3f} to {high:7.3f}, clips {clipped_mass(histogram, low, high):.2e}")
assert found["symmetric"][1] < max(map(abs, found["naive"]))
assert found["conjugate"][1] == max(map(abs, found["independent"]))
assert clipped_mass(histogram, *found["naive"]) == 0

# %% [markdown]
# The search itself is short. A threshold of *i* bins clips what lies beyond; P is the histogram up
# to there with what was clipped in its last bin, Q the same merged into 128 levels. The smallest
# KL(P || Q) wins, and that is the threshold of the table above.

# %%
from keras_int8nmt.thresholds.histogram import HALF
from keras_int8nmt.thresholds.kl import divergences

counts = histogram.counts[HALF:] + histogram.counts[:HALF][::-1]
counts = counts[: np.flatnonzero(counts)[-1] + 1].astype(float)
counts[0] = counts[1]  # zero has a code of its own
candidates = np.arange(len(counts), 127, -1)
divergence = divergences(counts, 128, candidates)
best = candidates[np.argmin(divergence)]
for i in (128, best // 2, best, len(counts)):
    value = divergence[candidates == i]
    print(f"{i * histogram.width:7.3f}:", *(f"KL {each:.5f}" for each in value))
assert np.isclose(best * histogram.width, found["symmetric"][1])

# %% [markdown]
# ## What it costs in BLEU
#
# The paper: 27.68 BLEU in float, 27.30 symmetric, 27.33 independent, and with the naive thresholds
# "translation never stops". Here, on 10,000 sentences of Tatoeba that calibration has not seen:
# 33.37 in float, 33.36 with the default, which is *independent*
# ([accuracy.md](accuracy.md), with intervals, and the command).
#
# The built-in model is small and tame, and naive thresholds hardly hurt it. Large models have
# *outlier channels*; `make_hard` puts some in without changing the float function by a bit. Then
# naive thresholds do what the paper says: all steps are spent on the outliers, and what comes out
# is no sentence.

# %%
from keras_int8nmt.bench.accuracy.hard import make_hard
from keras_int8nmt.calibration import settle
from keras_int8nmt.evaluation.significance import compare_systems

hard = make_hard(model)
calibrate(hard, tokenizer, [source for source, _ in sample[:64]], mode="symmetric")
few, targets = sources[:40], references[:40]
translations = {"float": Translator(convert(model, policy="float32"), tokenizer)(few)}
for mode in ("naive", "symmetric"):
    settle(hard, mode)
    search = Translator(convert(hard), tokenizer, max_length=40)
    translations[mode] = search(few)
    print(f"{mode:10}", translations[mode][0][:70])
scores = compare_systems(translations, targets).systems
bleu = {name: system.metrics["BLEU"].score for name, system in zip(translations, scores)}
print({name: round(score, 1) for name, score in bleu.items()})
assert bleu["naive"] < 1 < 10 < bleu["symmetric"] < bleu["float"]

# %% [markdown]
# Symmetric thresholds save most of it and not all: `balance`, which came after the paper, gives the
# channels back to the weights and loses nothing ([accuracy.md](accuracy.md)).
#
# ## Which MatMuls
#
# The paper leaves those with sparse inputs in float, and the two products of attention, which
# multiply two tensors that both change. `policy="paper"` does as it does, with one scale for all of
# a matrix of weights; by default all are in INT8, with a scale for each column.

# %%
paper = convert(model, policy="paper", weights="per_tensor").conversion_report
ours = convert(model).conversion_report
for name, report in (("paper", paper), ("default", ours)):
    print(name, Counter(row.precision + f" {row.reason}" for row in report.rows))
in_float = [row.name for row in paper.rows if row.precision == "float32"]
assert sum("ffn_out" in name for name in in_float) == 6
assert {row.precision for row in ours.rows} == {"int8"}

# %% [markdown]
# ## The INT8 MatMul
#
# Whole numbers in, sums of 32 bits, and one multiplication a column to be float again. The sums are
# exact, so every CPU and every back end gives the same bits. The paper calls MKL, and found 2.4
# times the speed of float on average; ours, against TensorFlow's float, 3.9 times
# (`keras-int8nmt bench paper`, [benchmarks.md](benchmarks.md#matmul)).

# %%
from keras_int8nmt.ops import int8_matmul, pack_weights
from keras_int8nmt.quantization import combine_scales, quantize_weights

generator = np.random.default_rng(0)
weights = generator.normal(size=(256, 64)).astype(np.float32)
inputs = generator.normal(size=(8, 256)).astype(np.float32)
params = params_from_thresholds(-4.0, 4.0, symmetric=True)
codes, (kernel, scales) = quantize(inputs, params), quantize_weights(weights)
sums = codes.astype(np.int32) @ kernel.astype(np.int32)
steps = combine_scales(params, scales)
product = int8_matmul(codes, pack_weights(kernel), steps, np.zeros(64, np.float32)).numpy()
assert np.array_equal(product, sums.astype(np.float32) * steps)
difference = np.abs(product - inputs @ weights).max()
print(f"off by {difference:.3f} at most, of values up to {np.abs(inputs @ weights).max():.1f}")
assert difference < 1.0

# %% [markdown]
# ## Fewer operations
#
# Quantizing and dequantizing around every product would eat what INT8 wins. The paper takes out
# what cancels; `convert` writes a layer's output as the codes that the next one reads. Operations
# of the encoder and one step of the decoder, before and after:

# %%
from keras_int8nmt import build_transformer
from keras_int8nmt.bench.paper.op_count import op_count

operations = {
    "float": op_count(build_transformer(False, **model.settings)),
    "simulated INT8": op_count(model),
    "converted": op_count(convert(model)),
}
print(operations)
assert operations["converted"] < operations["float"] < operations["simulated INT8"]

# %% [markdown]
# ## GatherNd on 8 bits (section 5.3)
#
# Beam search reorders the keys and values of all hypotheses at each step. Codes are copied as they
# are, a quarter of the bytes; the paper's gather became 5 times as fast, ours is 7 times
# `tf.gather_nd` on float where the cache is large ([benchmarks.md](benchmarks.md#gather)).

# %%
from keras_int8nmt.ops import int8_gather

cache = generator.normal(size=(8, 4, 16, 32)).astype(np.float32)
parents = np.array([0, 0, 2, 1, 4, 4, 4, 7], np.int32)
codes = quantize(cache, params)
gathered = int8_gather(codes, parents).numpy()
assert np.array_equal(gathered, quantize(cache[parents], params))
print(f"{cache[parents].nbytes} bytes in float, {gathered.nbytes} in INT8")

# %% [markdown]
# ## Batches of like sentences (section 5.4)
#
# Padding is computed for nothing. Sorting by tokens pads less than sorting by words, and much less
# than no sorting; the paper gained 28 % of time by the first over the second. On newstest2014 the
# padded tokens here are 1.28 times as many by words, and the encoder of the layer path takes 1.25
# times as long. The native decoder pads nothing, so to it order is the same
# ([corpus.md](corpus.md#what-it-showed)).

# %%
from keras_int8nmt.runtime.batching import make_batches, sort_keys

texts = [source for source, _ in sample + others]
ids = [tokenizer.encode(text) for text in texts]
lengths = [len(sentence) for sentence in ids]
padded = {}
for sort in ("tokens", "words", "none"):
    batches = make_batches(lengths, 32, keys=sort_keys(sort, ids, texts))
    padded[sort] = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
print(padded, f"of which {sum(lengths)} are tokens")
assert padded["tokens"] < padded["words"] < padded["none"]

# %% [markdown]
# ## Streams side by side
#
# One translation at a time leaves cores idle. The paper runs several, each on cores of its own, and
# gains 1.4 times; here two streams on two cores are 1.9 times one of them
# ([corpus.md](corpus.md#what-it-showed)). No answer depends on it, to the last bit of a score.

# %%
int8 = convert(model)
one, two = (
    Translator(int8, tokenizer, beam_size=4, streams=streams).translate(few) for streams in (1, 2)
)
assert [t.text for t in one] == [t.text for t in two]
assert [t.hypotheses[0].score for t in one] == [t.hypotheses[0].score for t in two]
print(few[0], "->", one[0].text)

# %% [markdown]
# ## End to end
#
# The paper ends at 1.5 times its best float, and 4.5 times float out of the box. Transformer base
# here, greedy, is 6.7 times the best float of plain Keras and 88 times Keras out of the box, which
# has no caches, so that this counts caches as much as INT8 (`keras-int8nmt bench paper`;
# [benchmarks.md](benchmarks.md#translation-engines-side-by-side) says how each was measured). What
# came after the paper, and is faster by more than INT8 alone, is in
# [native-decoder.md](native-decoder.md).
