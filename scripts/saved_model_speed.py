"""How fast SavedModels of the built-in model are: the native op beside stock operations.

    python scripts/saved_model_speed.py [--sentences 64] [--beam 4]

The built-in model in INT8 on its own sentences, each SavedModel in a process that loads it as a
server does; the best of three calls for each batch size. Prints target tokens/s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import json, sys, time
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.config.threading.set_inter_op_parallelism_threads(2)
given = json.load(sys.stdin)
if given["library"]:
    tf.load_op_library(given["library"])
served = tf.saved_model.load(given["folder"]).signatures["serving_default"]
for batch in given["batches"]:
    best, tokens = float("inf"), 0
    for _ in range(3):
        start, tokens = time.perf_counter(), 0
        for first in range(0, batch * given["calls"], batch):
            ids = tf.constant(np.array(given["ids"][first : first + batch], np.int32))
            tokens += int(served(source_ids=ids)["lengths"].numpy().sum())
        best = min(best, time.perf_counter() - start)
    print(batch, tokens / best)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--beam", type=int, default=4)
    arguments = parser.parse_args()

    from keras_int8nmt import MarianTokenizer, calibrate, convert, export_saved_model, native
    from keras_int8nmt.storage import builtin

    model, tokenizer = builtin.load_builtin(), MarianTokenizer(builtin.FOLDER)
    sources = [source for source, _ in builtin.read_pairs()[1]]
    calibrate(model, tokenizer, sources[:200])
    int8 = convert(model)
    sentences = [tokenizer.encode(source) for source in sources[: arguments.sentences]]
    width = max(map(len, sentences))
    ids = [[*each, *[int8.pad_id] * (width - len(each))] for each in sentences]
    batches = [1, 8, 32]
    calls = max(1, arguments.sentences // max(batches))
    with tempfile.TemporaryDirectory() as folder:
        for ops in ("native", "stock"):
            path = Path(folder) / ops
            export_saved_model(int8, path, beam_size=arguments.beam, ops=ops)
            library = str(native.FOLDER / "libkeras_int8nmt.so") if ops == "native" else ""
            given = {"library": library, "folder": str(path), "ids": ids}
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM],
                input=json.dumps({**given, "batches": batches, "calls": calls}),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            for line in done.stdout.splitlines():
                batch, speed = line.split()
                print(f"{ops:8} batch {batch:>3}: {float(speed):8.0f} target tokens/s", flush=True)


if __name__ == "__main__":
    main()
