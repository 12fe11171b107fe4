"""Automatic precision: the fastest conversion whose loss stays within a tolerance.

candidates.py   what conversions there are to try: the one place to add another
costs.py        what each MatMul costs in INT8 and in float32, by counting
sensitivity.py  how much the INT8 of one MatMul moves the model's predictions
frontier.py     which MatMuls to leave float, for each amount of time
chance.py       how much of a loss may be chance
search.py       which of them to evaluate, and when to stop
state.py        what was measured, in a file, so that a run goes on
result.py       what was chosen, and what was tried: a policy of `convert`
tune.py         `autotune`: all of it on a model
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "AutotuneResult": "autotuning.result",
    "Candidate": "autotuning.candidates",
    "autotune": "autotuning.tune",
}

__all__ = [
    "AutotuneResult",
    "Candidate",
    "autotune",
]

if TYPE_CHECKING:
    from keras_int8nmt.autotuning.candidates import Candidate
    from keras_int8nmt.autotuning.result import AutotuneResult
    from keras_int8nmt.autotuning.tune import autotune
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
