"""What observers cost until a model has taken its first steps: `fit` of a new model, in turns.

    python scripts/measure_tracing.py [--pairs 3] [--backend tensorflow]

Each turn is a process of its own that builds the Transformer base, compiles it and lets `fit` take
two steps; printed is its CPU time in `fit`, with and without Quant layers, and their ratio. Most of
it is the graph that is traced and optimized, whatever the batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

MODELS = ("quant", "plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--turn", choices=MODELS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        print(turn(args.turn == "quant", args.layers, args.dim, args.steps))
        return
    taken: dict[str, list[float]] = {model: [] for model in MODELS}
    environment = {**os.environ, "KERAS_BACKEND": args.backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    for pair in range(args.pairs):
        # The order changes from pair to pair.
        for model in MODELS if pair % 2 == 0 else MODELS[::-1]:
            command = [sys.executable, __file__, *sys.argv[1:], "--turn", model]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            taken[model].append(float(done.stdout.split()[-1]))
        print(f"pair {pair}: " + ", ".join(f"{m} {t[-1]:.1f} s" for m, t in taken.items()))
    ratios = [quant / plain for quant, plain in zip(*taken.values(), strict=True)]
    print(
        f"{args.backend}: quant / plain {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}), CPU time of {args.steps} steps of fit"
    )


def turn(quant: bool, layers: int, dim: int, steps: int) -> float:
    """Seconds of CPU time of `fit` with a new model."""
    import time

    import keras
    import numpy as np

    from keras_int8nmt import build_transformer

    model = build_transformer(
        quant=quant,
        source_vocabulary_size=1000,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        model_dim=dim,
        ffn_dim=4 * dim,
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids = np.random.default_rng(0).integers(2, 1000, (4 * steps, 8))
    started = time.process_time()
    model.fit((ids, ids), ids, batch_size=4, epochs=1, verbose=0)
    return time.process_time() - started


if __name__ == "__main__":
    main()
