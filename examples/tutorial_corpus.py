# %% [markdown]
# # Translate a corpus, stop it, go on
#
# `keras-int8nmt translate` reads, translates and writes a file of any size in a memory that does
# not grow with it. Here such a run is killed, by the signal that no program can answer, and begun
# again by the same command: the output is byte for byte that of a run which was left in peace.
#
# First an INT8 model, made of the one inside this package. Any folder that `convert` writes will
# do, as in [the tutorial on the command line](generated/tutorial-opus-mt.md).

# %%
from keras_int8nmt import MarianTokenizer, calibrate, convert, save_folder
from keras_int8nmt.storage.builtin import FOLDER, load_builtin, read_pairs

model, tokenizer = load_builtin(), MarianTokenizer(FOLDER)
sample, others = read_pairs()
calibrate(model, tokenizer, [source for source, _ in sample[:32]])
int8 = convert(model)
save_folder(int8, "int8", tokenizer, keras=False)
print(int8.conversion_report.precision)

# %% [markdown]
# ## A corpus
#
# Eight hundred lines, no two the same. Your own file may be packed: a name that ends with `.gz` or
# `.zst` is read and written so.

# %%
from pathlib import Path

sources = [source for source, _ in sample + others]
lines = [f"{i}: {sources[i % len(sources)]}\n" for i in range(800)]
Path("news.en").write_text("".join(lines), "utf-8")
print(*lines[:3], sep="", end="")

# %% [markdown]
# ## Stop it
#
# `--resume` is given from the beginning: where there is nothing to go on with, it begins. So a
# script, or what starts jobs on a cluster, can always say the same.
#
# The run is killed as soon as its journal tells of two windows of lines. A window is what is
# written and made safe at once, 2048 lines unless `--window` says otherwise; the small ones here
# make the journal move quickly.

# %%
import json
import subprocess
import time

COMMAND = "keras-int8nmt translate int8 news.en -o news.de --resume --beam-size 4 --window 64"


def lines_done():
    journal = Path("news.de.progress")
    return json.loads(journal.read_text("utf-8"))["lines"] if journal.exists() else 0


running = subprocess.Popen([*COMMAND.split(), "--streams", "1"])
while lines_done() < 128:
    assert running.poll() is None, "it ended before it could be killed"
    time.sleep(0.002)
running.kill()
print("ended with status", running.wait())
print(*sorted(path.name for path in Path.cwd().glob("news*")))
print(f"{lines_done()} of {len(lines)} lines count")

# %% [markdown]
# There is no `news.de` yet. What was translated is in `news.de.partial`, and the journal
# `news.de.progress` says how much of it counts; what was written after its last entry is cut off.
# So the loss is at most the three windows that were under way.
#
# ## Go on
#
# The same line again. Streams may change, since they change no answer.

# %%
before = lines_done()
done = subprocess.run(COMMAND.split(), check=True, capture_output=True, text=True)
print(done.stderr)
print(*sorted(path.name for path in Path.cwd().glob("news*")))
assert 128 <= before < len(lines)

# %% [markdown]
# ## Is it the same?
#
# The same corpus once more, into another file, without a pause.

# %%
whole = COMMAND.replace("news.de --resume", "whole.de").split()
subprocess.run([*whole, "--quiet"], check=True)
assert Path("news.de").read_bytes() == Path("whole.de").read_bytes()
assert Path("news.de").read_text("utf-8").count("\n") == len(lines)
print(Path("news.de").stat().st_size, "bytes, all equal")

# %% [markdown]
# A finished output is left alone, and a run that would make a mixture of two is refused: another
# model, other options of the search, other lines in the part that was translated.

# %%
print(subprocess.run(COMMAND.split(), check=True, capture_output=True, text=True).stderr)

killed = [*COMMAND.replace("news.de", "again.de").split(), "--streams", "1"]
running = subprocess.Popen(killed)
while not Path("again.de.progress").exists():
    time.sleep(0.002)
running.kill()
running.wait()
greedy = " ".join(killed).replace("--beam-size 4", "--beam-size 1").split()
refused = subprocess.run(greedy, capture_output=True, text=True)
print(refused.stderr)
assert refused.returncode == 2

# %% [markdown]
# ## Lines that can't be translated
#
# By default such a line ends the run with its number, and all before it is safe. `--on-error copy`
# lets the source stand for the translation; `empty` leaves it empty. The input is JSON lines here.

# %%
Path("few.jsonl").write_text(
    '{"id": 1, "text": "Good morning."}\n{"id": 2}\n{"id": 3, "text": "It rains."}\n', "utf-8"
)
few = "keras-int8nmt translate int8 few.jsonl -o few.de.jsonl --input-format jsonl --quiet"
stopped = subprocess.run(few.split(), capture_output=True, text=True)
print(stopped.stderr)
assert stopped.returncode == 2

subprocess.run([*few.split(), "--resume", "--on-error", "copy"], check=True)
print(Path("few.de.jsonl").read_text("utf-8"))
records = [json.loads(line) for line in Path("few.de.jsonl").read_text("utf-8").splitlines()]
assert [record["id"] for record in records] == [1, 2, 3]

# %% [markdown]
# Every state that a kill can leave, the formats, and many machines without an engine that joins
# them: [corpus.md](corpus.md). How `translate` is asked from Python, and by other programs:
# [the next tutorial](generated/tutorial-serve.md).
