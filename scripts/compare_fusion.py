"""What the exchange of codes in graphs is worth: CPU time of converted models, fused and alone.

    python scripts/compare_fusion.py [--turns 7] [--case 'mlp 1'] [--threads 1]

Each model is called as a traced function, in turns with the same model converted with
`fused=False`; both give the same bits, which is checked first. Other programs on the machine
disturb CPU time less than they do the clock. Then, of the calls alone: which of our ops take how
long, and how long the rest takes (operations of TensorFlow and the call itself).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

# A turn lasts at least so long, in seconds.
_TURN = 0.2


def bert_like(width: int, heads: int, blocks: int, length: int) -> Any:
    """Post-norm blocks as a Functional graph of Keras' own layers; a class of the first token."""
    import keras
    from keras import layers

    ids = keras.Input((length,), dtype="int32")
    place = layers.Embedding(length, width)(keras.ops.arange(length))
    x = layers.LayerNormalization()(layers.Embedding(1000, width)(ids) + place)
    for _ in range(blocks):
        attended = layers.MultiHeadAttention(heads, width // heads)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        hidden = layers.Dropout(0.1)(layers.Dense(4 * width, activation="gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(width)(hidden)]))
    return keras.Model(ids, layers.Dense(2)(x[:, 0]))


def separate_attention(width: int, blocks: int, length: int) -> Any:
    """Queries, keys and values by layers of their own, and activations as layers."""
    import keras
    from keras import layers

    given = keras.Input((length, width))
    x = given
    for _ in range(blocks):
        normed = layers.LayerNormalization()(x)
        q, k, v = (layers.Dense(width)(normed) for _ in range(3))
        attended = layers.Attention()([q, v, k])
        x = layers.Add()([x, layers.Dense(width)(attended)])
        hidden = layers.Dense(4 * width)(layers.LayerNormalization()(x))
        hidden = layers.Dropout(0.1)(layers.ReLU()(hidden))
        x = layers.Add()([x, layers.Dense(width)(hidden)])
    return keras.Model(given, x)


def wide_mlp(features: int, widths: tuple[int, ...]) -> Any:
    """Dense layers with ReLU."""
    import keras
    from keras import layers

    hidden = [layers.Dense(width, activation="relu") for width in widths]
    return keras.Sequential([keras.Input((features,)), *hidden, layers.Dense(10)])


def cases() -> dict[str, tuple[Callable[[], Any], Callable[[Any, int], Any], tuple[int, ...]]]:
    """By name: the model, its inputs of a batch, and the batches."""
    from keras_int8nmt.bench.any_keras.plain_models import mlp

    def ids(rng: Any, batch: int) -> Any:
        return rng.integers(0, 1000, (batch, 128)).astype("int32")

    def rows(*shape: int) -> Callable[[Any, int], Any]:
        return lambda rng, batch: rng.normal(size=(batch, *shape)).astype("float32")

    return {
        "mlp": (lambda: mlp().model, rows(512), (1, 32)),
        "narrow mlp": (lambda: wide_mlp(64, (128,) * 6), rows(64), (1, 32)),
        "deep mlp": (lambda: wide_mlp(256, (256,) * 12), rows(256), (1, 32, 1024)),
        "bert-like": (lambda: bert_like(256, 4, 4, 128), ids, (1, 8)),
        "separate q/k/v": (lambda: separate_attention(128, 4, 64), rows(64, 128), (1, 8)),
    }


def compare(
    make: Callable[[], Any], data: Callable[[Any, int], Any], batches: tuple[int, ...], turns: int
) -> list[tuple[int, list[float], list[float], dict[str, float]]]:
    """By batch: seconds of a call fused and alone, turn by turn, and those of the fused ops."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_int8nmt import CalibrationCallback, convert, quantize_model
    from keras_int8nmt.ops.library import op_times

    keras.utils.set_random_seed(0)
    quant = quantize_model(make())
    rng = np.random.default_rng(0)
    quant.predict(data(rng, 8), verbose=0, callbacks=[CalibrationCallback()])
    models = [convert(quant), convert(quant, fused=False)]
    found = []
    for batch in batches:
        given = tf.constant(data(rng, batch))
        calls = [_traced(model) for model in models]
        if not np.array_equal(*(np.asarray(call(given)) for call in calls)):
            sys.exit("The fused model gives other numbers.")
        count = max(1, round(_TURN / _seconds(calls[1], given, 3)))
        times: list[list[float]] = [[], []]
        for turn in range(turns):
            for i in (0, 1) if turn % 2 else (1, 0):
                times[i].append(_seconds(calls[i], given, count))
        with op_times() as ops:
            _seconds(calls[0], given, count)
        named = {name: row["seconds"] / count for name, row in ops.items() if row["calls"]}
        found.append((batch, times[0], times[1], named))
    return found


def _traced(model: Any) -> Any:
    import tensorflow as tf

    return tf.function(lambda x: model(x, training=False), autograph=False)


def _seconds(call: Any, given: Any, count: int) -> float:
    """CPU time of a call."""
    start = time.process_time()
    for _ in range(count):
        call(given)
    return (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--case", action="append", help="a name, or a name and a batch")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    import tensorflow as tf

    from keras_int8nmt.ops import functions as ops

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ops.set_num_threads(options.threads)
    print(f"{ops.native_info()['isa']}, threads: {options.threads}; medians (least to largest)")
    for name, (make, data, batches) in cases().items():
        chosen = options.case is None or name in options.case
        sizes = [b for b in batches if chosen or f"{name} {b}" in options.case]
        if not sizes:
            continue
        for batch, fused, alone, named in compare(make, data, tuple(sizes), options.turns):
            ratios = sorted(f / a for f, a in zip(fused, alone, strict=True))
            middle = statistics.median(fused)
            text = ", ".join(f"{op} {1e6 * s:.0f}" for op, s in named.items())
            print(
                f"{name} {batch}: {1e6 * middle:.0f} us fused, "
                f"{1e6 * statistics.median(alone):.0f} us alone, ratio "
                f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}); of the "
                f"ops by the clock, us: {text}"
            )


if __name__ == "__main__":
    main()
