# %% [markdown]
# # From raw text to an INT8 translator
#
# Two text files become a vocabulary, a Transformer, thresholds, and an INT8 model that translates
# without Keras and TensorFlow. It takes a few minutes on two cores, and needs no more than
#
#     pip install keras-int8nmt
#
# With files of your own leave the first cell out, and take a larger model:
# [training.md](training.md) and `examples/train_multi30k.py` go on from here.
#
# The sentences are made up, and not quite trivial: in German the verb is in another place in each
# kind of sentence, and "two hundred seventeen" is "zweihundertsiebzehn", with ones before tens.

# %%
import random
from pathlib import Path

ENGLISH = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen""".split()
GERMAN = """null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn
    fünfzehn sechzehn siebzehn achtzehn neunzehn""".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ZIG = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
THINGS = {"apples": "Äpfel", "pears": "Birnen", "eggs": "Eier", "books": "Bücher", "pens": "Stifte"}
KINDS = {
    "{who} buys {x} and {y}.": "{who} kauft {x} und {y}.",
    "Yesterday {who} bought {x} and {y}.": "Gestern kaufte {who} {x} und {y}.",
    "{who} has bought {x} and {y}.": "{who} hat {x} und {y} gekauft.",
}


def english(n):
    if n >= 100:
        return f"{ENGLISH[n // 100]} hundred" + (f" {english(n % 100)}" if n % 100 else "")
    return ENGLISH[n] if n < 20 else TENS[n // 10 - 2] + (f" {ENGLISH[n % 10]}" if n % 10 else "")


def german(n):
    if n >= 100:
        return f"{GERMAN[n // 100]}hundert" + (german(n % 100) if n % 100 else "")
    return GERMAN[n] if n < 20 else (f"{GERMAN[n % 10]}und" if n % 10 else "") + ZIG[n // 10 - 2]


def pair(random):
    who, kind = random.choice(["Anna", "Ben", "Clara", "David"]), random.choice(list(KINDS))
    counts, things = random.choices(range(2, 1000), k=2), random.sample(list(THINGS), 2)
    x, y = (f"{english(n)} {thing}" for n, thing in zip(counts, things))
    source = kind.format(who=who, x=x, y=y)
    x, y = (f"{german(n)} {THINGS[thing]}" for n, thing in zip(counts, things))
    return source, KINDS[kind].format(who=who, x=x, y=y)


generator = random.Random(1)
for part, count in {"train": 6_000, "valid": 300}.items():
    pairs = [pair(generator) for _ in range(count)]
    for language, lines in zip(("en", "de"), zip(*pairs)):
        Path(f"{part}.{language}").write_text("".join(line + "\n" for line in lines), "utf-8")
print(*pairs[0], sep="\n")

# %% [markdown]
# ## Pieces
#
# `train_sentencepiece` learns one vocabulary for both languages, the same on every machine. By
# default it leaves the rarest letters out, as large corpora have letters of all the world's
# scripts; here that would be the ö of "zwölf", so no letter is left out.

# %%
from keras_int8nmt import train_sentencepiece

VOCABULARY = 160
tokenizer = train_sentencepiece(
    "train.en", "train.de", vocabulary_size=VOCABULARY, character_coverage=1.0
)
ids = tokenizer.encode_target("zweihundertzwölf Äpfel")
print(ids, tokenizer.decode(ids))

# %% [markdown]
# ## Train
#
# `parallel_dataset` makes batches of about as many tokens each, and `fit` is Keras' own. The model
# is made of plain Keras layers here, which train fastest.

# %%
import keras

from keras_int8nmt import build_transformer, copy_weights, parallel_dataset
from keras_int8nmt.training import InverseSquareRoot, SmoothedCrossEntropy

keras.utils.set_random_seed(1)
sizes = {
    "source_vocabulary_size": VOCABULARY,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "model_dim": 64,
    "num_heads": 4,
    "ffn_dim": 256,
    "norm": "pre",
    "dropout": 0.0,
}
plain = build_transformer(quant=False, **sizes)
data = parallel_dataset("train.en", "train.de", tokenizer, model=plain, batch_tokens=2048)
print(f"{data.counts}, {len(data)} batches, {plain.count_params()} parameters")
rate = InverseSquareRoot(5e-3, warmup_steps=60)
plain.compile(keras.optimizers.Adam(rate, beta_2=0.98), SmoothedCrossEntropy(0.1))
history = plain.fit(data, epochs=8, shuffle=False, verbose=0)
print("loss:", *(f"{loss:.2f}" for loss in history.history["loss"]))

# %% [markdown]
# ## Calibrate
#
# `build_transformer(quant=True)` makes the same model of layers that can be calibrated; until they
# are told otherwise they compute what plain Keras layers compute, so one could also train them.
# `CalibrationCallback` watches the inputs of every MatMul while Keras runs over data, whether by
# `fit`, `evaluate` or `predict`, and then chooses their thresholds. Forty batches are plenty.

# %%
from keras_int8nmt import CalibrationCallback

model = build_transformer(quant=True, **sizes)
copy_weights(plain, model)
model.compile(loss=SmoothedCrossEntropy(0.1))
calibration = CalibrationCallback()
model.evaluate(data, steps=40, verbose=0, callbacks=[calibration])
print(f"{len(calibration.thresholds)} tensors have thresholds")

# %% [markdown]
# ## Convert
#
# `convert` makes a new model; the float one stays as it was. Its report names each MatMul.

# %%
from keras_int8nmt import convert

int8 = convert(model)
print(*int8.conversion_report.to_text().splitlines()[:8], "...", sep="\n")

# %% [markdown]
# ## What INT8 costs
#
# Both models translate sentences that neither has seen. `compare_systems` scores them with
# sacreBLEU; the interval says how much of a difference in BLEU may be chance.

# %%
from keras_int8nmt import Translator
from keras_int8nmt.evaluation.significance import compare_systems

sources, references = (
    Path(f"valid.{language}").read_text("utf-8").splitlines() for language in ("en", "de")
)
translations = {
    "float": Translator(model, tokenizer, beam_size=4)(sources),
    "int8": Translator(int8, tokenizer, beam_size=4)(sources),
}
before, after = compare_systems(translations, references).systems
bleu = (system.metrics["BLEU"].score for system in (before, after))
print("BLEU: float {:.2f}, INT8 {:.2f}".format(*bleu))
print("difference, 95 %:", "{:+.2f} to {:+.2f}".format(*after.bleu_difference_interval))
print(f"{sum(a == b for a, b in zip(*translations.values()))} of {len(sources)} lines are equal")

# %% [markdown]
# ## Save, and translate anywhere
#
# The folder holds the INT8 model and its tokenizer. `load_translator` needs neither Keras nor
# TensorFlow, and starts in a fraction of a second; `keras-int8nmt translate numbers-int8 input.en
# -o output.de` does the same for files of any size.

# %%
from keras_int8nmt import load_translator, save_folder

save_folder(int8, "numbers-int8", tokenizer)
with load_translator("numbers-int8", beam_size=4) as translator:
    for sentence in sources[:3]:
        print(sentence, "->", *translator([sentence]))
