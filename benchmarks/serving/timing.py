"""What a process that translates does a second; the sentences come on stdin."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

_FIRST = 64
# So many at least that those few at the end, which have the streams for themselves, count little.
_LEAST = 192


def tell_rate(translate: Callable[[Sequence[str]], Any]) -> None:
    """Prints sentences a second and ms of CPU a sentence, as JSON."""
    seconds, sentences = json.load(sys.stdin)
    endless = cycle(sentences)
    translate([*islice(endless, _FIRST)])
    start = time.perf_counter()
    translate([*islice(endless, _FIRST)])
    count = int(seconds * _FIRST / (time.perf_counter() - start))
    # Whole rounds, where there is time for one: rates of the same sentences are compared.
    whole = count // len(sentences) * len(sentences)
    asked = sentences * (whole // len(sentences)) or [*islice(endless, max(count, _LEAST))]
    start, cpu = time.perf_counter(), time.process_time()
    translate(asked)
    cpu, took = time.process_time() - cpu, time.perf_counter() - start
    print(json.dumps([len(asked) / took, 1000 * cpu / len(asked)]))
