# %% [markdown]
# # Serve, and scale out
#
# One folder in INT8, and two ways to give it to many: a service that answers over HTTP, and a
# callable for engines that work on many machines. Neither needs Keras or TensorFlow.
#
# The folder is made of the model inside this package, in INT8 and in float; its card says which
# languages it is of, so that the service need not be told.

# %%
from keras_int8nmt import MarianTokenizer, calibrate, convert, save_folder
from keras_int8nmt.storage.builtin import FOLDER, load_builtin, read_pairs

model, tokenizer = load_builtin(), MarianTokenizer(FOLDER)
sample, others = read_pairs()
calibrate(model, tokenizer, [source for source, _ in sample[:64]])
card = {"languages": ["en", "de"]}
save_folder(convert(model), "int8", tokenizer, card, keras=False)
save_folder(convert(model, policy="float32"), "float", tokenizer, card, keras=False)

# %% [markdown]
# ## A service
#
# `keras-int8nmt serve` comes with `pip install 'keras-int8nmt[serve]'` and speaks LibreTranslate's
# interface, so that its clients work as they are. Port 0 is any that is free. Its logs are JSON, a
# line each; the one with the event `listening` says where it is.

# %%
import json
import subprocess
import time
from pathlib import Path

log = Path("service.log")
with log.open("w") as stderr:
    command = "keras-int8nmt serve int8 float --port 0 --beam-size 4"
    service = subprocess.Popen(command.split(), stderr=stderr)


def events(name):
    whole = log.read_text("utf-8").rpartition("\n")[0].splitlines()
    return [entry for entry in map(json.loads, whole) if entry["event"] == name]


while not events("listening"):
    assert service.poll() is None, log.read_text("utf-8")
    time.sleep(0.05)
url = f"http://127.0.0.1:{events('listening')[0]['port']}"

# %% [markdown]
# Any HTTP client asks it; here it is `httpx2`. A text may have several sentences, and a list of
# texts is answered by a list.

# %%
import httpx2

client = httpx2.Client(base_url=url, timeout=60)


def ask(q, **more):
    answer = client.post("/translate", json={"q": q, "source": "en", "target": "de", **more})
    answer.raise_for_status()
    return answer.json()


answer = ask("Good morning. Where is the station?")
print(answer)
print(ask(["It rains.", "I am hungry."], alternatives=1))
print(ask('<p>It rains.</p><p translate="no">Platform 9</p>', format="html"))

# %% [markdown]
# The first model of the two languages answers, and a request may name another precision.

# %%
question = "Where is the station?"
print({precision: ask(question, precision=precision) for precision in ("int8", "float32")})

# %% [markdown]
# A stream tells each sentence as it is finished, and the whole at the end.

# %%
fields = {"q": "Good morning. It rains.", "source": "en", "target": "de"}
with client.stream("POST", "/translate/stream", json=fields) as answer:
    parts = [json.loads(line) for line in answer.iter_lines()]
print(*parts, sep="\n")
assert parts[-1]["translatedText"] == ask(fields["q"])["translatedText"]

# %% [markdown]
# What can't be done is refused with its reason.

# %%
refused = client.post("/translate", json={"q": question, "source": "en", "target": "fr"})
print(refused.status_code, refused.json())
assert refused.status_code == 400

# %% [markdown]
# ## Many clients at once
#
# Sentences of all clients meet in the decoder: one that has ended makes room for the next,
# whoever's it is. Nobody's answer depends on what it was computed beside.

# %%
from concurrent.futures import ThreadPoolExecutor

texts = [source for source, _ in others[:64]]
alone = [ask(text)["translatedText"] for text in texts]
with ThreadPoolExecutor(16) as clients:
    together = [answer["translatedText"] for answer in clients.map(ask, texts)]
assert together == alone
print(len(texts), "answers, alone and among others, all equal")

# %% [markdown]
# `/health` and `/ready` are for whoever starts the process, `/metrics` for Prometheus. SIGTERM
# finishes what was accepted. The log has times and counts, and never a text.

# %%
print(client.get("/ready").json())
service.terminate()
assert service.wait(60) == 0
requests = events("request")
print(requests[0])
assert len(requests) > 2 * len(texts)
assert "station" not in log.read_text("utf-8")

# %% [markdown]
# ## A callable for engines
#
# `BatchTranslator` is what engines of batches call: a folder's name and a few options. A batch is
# columns in and columns out; a row that is missing stays so.

# %%
from keras_int8nmt import BatchTranslator

translate = BatchTranslator(
    "int8", column="en", output_column="de", error_column="why", beam_size=4
)
batch = {"id": [1, 2, 3, 4], "en": ["Good morning.", None, "It rains.", 5]}
found = translate(batch)
for name, column in found.items():
    print(f"{name:4}", column)
assert found["de"][1] is None
assert found["de"][3] is None
assert "no text" in found["why"][3]

# %% [markdown]
# It pickles to some hundred bytes, whatever the model weighs, and opens the folder when it is first
# called on its worker: here a process that imports neither Keras nor TensorFlow.

# %%
import pickle
import sys

Path("translate.pickle").write_bytes(pickle.dumps(translate))
print(Path("translate.pickle").stat().st_size, "bytes")
WORKER = """
import json, pathlib, pickle, sys
translate = pickle.loads(pathlib.Path("translate.pickle").read_bytes())
print(json.dumps(translate(json.load(sys.stdin))))
assert not {"keras", "tensorflow"} & set(sys.modules)
"""
worker = subprocess.run(
    [sys.executable, "-c", WORKER],
    input=json.dumps(batch),
    check=True,
    capture_output=True,
    text=True,
)
assert json.loads(worker.stdout) == found

# %% [markdown]
# ## Where to go from here
#
# - More requests than one process takes: `--workers`, containers, gunicorn, Kubernetes and what the
#   service was put through are in [serving.md](serving.md).
# - `BatchTranslator` in Ray Data, `datasets` and Spark, and `keras-int8nmt translate --ray` on a
#   cluster whose nodes may die: [clusters.md](clusters.md). Ray is an extra, and not run here.
# - A file cut into shards, by whatever starts jobs:
#   [corpus.md](corpus.md#many-machines-without-an-engine).
