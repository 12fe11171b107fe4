# %% [markdown]
# # An OPUS-MT folder to INT8, on the command line
#
# A model as OPUS-MT publishes it on Hugging Face becomes an INT8 folder that translates without
# Keras and TensorFlow. Nothing of PyTorch or `transformers` is needed, and nothing is downloaded:
# the folder is there already.
#
# So that this page can be made without a network, `opus-mt-en-de` here is the small model inside
# this package, written as `transformers` writes Marian models. That takes a package more, and the
# script `opus_mt_stand_in.py`, which lies beside this one:
#
#     pip install keras-int8nmt safetensors
#
# With a real folder leave the first cell out, and `safetensors` too.

# %%
import subprocess
from pathlib import Path

from opus_mt_stand_in import write_opus_mt_folder

from keras_int8nmt.storage.builtin import read_pairs

write_opus_mt_folder("opus-mt-en-de")
for name, pairs in zip(("sample", "test"), read_pairs()):
    for language, lines in zip(("en", "de"), zip(*pairs)):
        Path(f"{name}.{language}").write_text("".join(line + "\n" for line in lines), "utf-8")
print(*sorted(path.name for path in Path("opus-mt-en-de").iterdir()))


def run(command):
    print(subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout)


# %% [markdown]
# ## What is in the folder?
#
# `info` reads no weights. It would also tell what is missing or not supported.

# %%
run("keras-int8nmt info opus-mt-en-de")

# %% [markdown]
# ## Calibrate
#
# A few hundred sentences of what will be translated; no translations are needed. The folder that
# comes out is still a float model, with thresholds.

# %%
run("keras-int8nmt calibrate opus-mt-en-de --data sample.en -o calibrated")

# %% [markdown]
# ## Convert
#
# `--runtime-only` leaves out what only Keras needs.

# %%
run("keras-int8nmt convert calibrated -o en-de-int8 --runtime-only")

# %% [markdown]
# ## Translate
#
# As many lines out as in. From here on neither Keras nor TensorFlow is imported.

# %%
run("keras-int8nmt translate en-de-int8 test.en -o translated.de")
lines = (Path(name).read_text("utf-8").splitlines() for name in ("test.en", "translated.de"))
for source, line in list(zip(*lines))[:4]:
    print(source, "->", line)

# %% [markdown]
# ## What did it cost?
#
# Of two models `evaluate` also says whether they differ by more than chance.

# %%
run("keras-int8nmt evaluate opus-mt-en-de en-de-int8 --src test.en --ref test.de")
