"""The child process of one case and number of threads: a line of JSON with all that it found.

    python -m keras_int8nmt.bench.any_keras.worker '{"case": ..., "threads": ..., ...}'

Nothing but the standard library is imported before the process is pinned, so that every thread of
every library inherits the cores.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

# So long one turn of an engine lasts at least, in seconds.
_TURN = 0.1
_MOST_CALLS = 50
# An engine of which a call lasts longer has fewer turns.
_LONG = 0.5
_LONG_TURNS = 3
_CALIBRATION_BATCH = 8


def measure(case: str, threads: int, peers: list[str], turns: int, folder: str) -> dict[str, Any]:
    """All of one case with one number of threads.

    Returns:
        `products` (what became INT8 and what not and why), `errors` (relative, by engine),
        `reasons` (why an engine is missing), `seconds` (of a call, by batch and engine: a list).
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_int8nmt.bench.any_keras import engines
    from keras_int8nmt.bench.any_keras.cases import CASES, NANO
    from keras_int8nmt.bench.any_keras.products import int8_model
    from keras_int8nmt.ops import functions as ops

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ops.set_num_threads(threads)
    chosen = {**CASES, **NANO}[case]

    def make() -> Any:
        keras.utils.set_random_seed(0)
        return chosen.make()

    subject = make()
    rng = np.random.default_rng(1)
    calibration = subject.inputs(_CALIBRATION_BATCH, rng)
    given = {batch: subject.inputs(batch, rng) for batch in chosen.batches}
    ours, products = int8_model(subject, calibration, Path(folder))
    setting = engines.Setting(subject, make, calibration, threads, Path(folder))
    makers: dict[str, Any] = {"ours": lambda _: engines.traced(subject, ours)}
    makers |= {name: engines.PEERS[name] for name in peers}
    # Of a batch that is measured, so that nothing is traced or compiled for another.
    compared = given[chosen.batches[-1]]
    calls: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, maker in makers.items():
        try:
            call = maker(setting)
            for batch in chosen.batches:
                outputs[name] = call(given[batch])
            calls[name] = call
        except Exception as error:  # a row of the table, whatever it is
            if name == "ours":
                raise
            known = isinstance(error, engines.MissingError)
            reasons[name] = str(error) if known else engines.first_line(error)
    found = "keras" in calls
    right = outputs["keras"] if found else engines.traced(subject, subject.model)(compared)
    distance = relative_error if subject.generate is None else differing_tokens
    errors = {name: distance(outputs[name], right) for name in calls}
    seconds = {b: _turns(calls, given[b], turns) for b in chosen.batches}
    return {"products": products, "errors": errors, "reasons": reasons, "seconds": seconds}


def differing_tokens(found: Any, right: Any) -> float:
    """Share of generated tokens that are others."""
    import numpy as np

    return float(np.mean(np.asarray(found) != np.asarray(right)))


def relative_error(found: Any, right: Any) -> float:
    """Root mean square of the difference, over that of what is right, of all outputs together."""
    import numpy as np
    import tensorflow as tf

    sides = [
        np.concatenate([np.asarray(x, np.float64).ravel() for x in tf.nest.flatten(each)])
        for each in (found, right)
    ]
    difference = sides[0] - sides[1]
    return float(np.sqrt(np.mean(difference**2) / np.mean(sides[1] ** 2)))


def _turns(calls: dict[str, Any], given: Any, turns: int) -> dict[str, list[float]]:
    """Seconds of a call by engine, one figure a turn; short calls are repeated within a turn.

    Each has been called with a batch of this size before.
    """
    import time

    def lasting(call: Any, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call(given)
        return (time.perf_counter() - start) / count

    counts: dict[str, int] = {}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        seconds = lasting(call, 1)
        counts[name] = max(1, min(_MOST_CALLS, round(_TURN / seconds)))
        if seconds >= _LONG:
            found[name].append(seconds)  # a turn of its own
    most = {name: min(turns, _LONG_TURNS) if found[name] else turns for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            if len(found[name]) < most[name]:
                found[name].append(lasting(call, counts[name]))
    return found


def main() -> None:
    request = json.loads(sys.argv[1])
    cores = request.pop("cores")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    # What libraries print on stdout must not get into the reply.
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    reply.write(json.dumps(measure(**request)) + "\n")
    reply.flush()


if __name__ == "__main__":
    main()
