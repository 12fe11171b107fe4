"""Turns of several engines at one case, A B A B, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from keras_int8nmt.bench.timing import Measurement
from keras_int8nmt.bench.translation.cases import Case, Job
from keras_int8nmt.bench.translation.client import WorkerError, WorkerProcess
from keras_int8nmt.bench.translation.engines import EngineSpec, Variant

_JOB, _WARM_UP, _TRIAL = "job", "warm up", "trial"
# Turns of each variant, the seconds after which it has had enough, and the tokens of a forced
# translation: a variant may be ten times slower than the best.
_TRIAL_TURNS, _TRIAL_SECONDS, _TRIAL_TOKENS = 3, 5.0, 12
# How much faster a variant must be than those before it: less is noise.
_FASTER = 1.03


@dataclass(frozen=True)
class Rules:
    """How many turns an engine takes.

    Attributes:
        turns: Wanted of every engine.
        always: Engines that take all of them, whatever their time.
        least: Turns that any other takes at least.
        patience: Seconds after which any other has had enough turns.
    """

    turns: int = 5
    always: tuple[str, ...] = ()
    least: int = 3
    patience: float = 60.0

    def wants_turn(self, name: str, seconds: Sequence[float]) -> bool:
        """Whether engine `name`, whose turns took `seconds`, takes another."""
        if len(seconds) >= self.turns:
            return False
        if name in self.always or len(seconds) < self.least:
            return True
        return sum(seconds) < self.patience


@dataclass
class Result:
    """What one engine did at one case.

    Attributes:
        seconds: Of each turn.
        tokens: Target tokens of a turn, end tokens included.
        settings: How the engine was set.
        reason: Why there is no figure; None where there is one.
        extra: More figures, such as BLEU.
    """

    seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    settings: str = ""
    reason: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Median target tokens/s."""
        return self.tokens / Measurement.of(self.seconds).median

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return Measurement.of(self.seconds).spread

    @property
    def speeds(self) -> tuple[float, float]:
        """Target tokens/s of the slowest and of the fastest turn."""
        return self.tokens / max(self.seconds), self.tokens / min(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def warm_up_job(case: Case, job: Job) -> Job:
    """One batch for each stream: the longest sentences, so that buffers have their size."""
    longest = sorted(job.sentences, key=len, reverse=True)[: case.warm_up_sentences]
    return replace(job, sentences=longest)


def trial_job(case: Case, job: Job) -> Job:
    """What variants are compared by: the warm-up, where lengths are forced with short results."""
    shorter = min(job.max_length, _TRIAL_TOKENS) if case.forced else job.max_length
    least = min(job.min_length, shorter)
    return replace(warm_up_job(case, job), min_length=least, max_length=shorter)


def measure(
    case: Case, job: Job, workers: Mapping[str, WorkerProcess], rules: Rules
) -> dict[str, Result]:
    """Each of `workers`, loaded already, takes its turns.

    A worker that fails or dies gets a reason and the others go on.
    """
    results = {name: Result(settings=worker.settings) for name, worker in workers.items()}
    for name, worker in workers.items():
        _attempt(results[name], _warm_up, worker, case, job)
    for _ in range(rules.turns):
        for name, worker in workers.items():
            if rules.wants_turn(name, results[name].seconds):
                _attempt(results[name], _turn, worker, results[name])
    return results


def _attempt(result: Result, action: Callable[..., None], *arguments: Any) -> None:
    if result.reason is not None:
        return
    try:
        action(*arguments)
    except WorkerError as error:
        result.reason = str(error)


def _warm_up(worker: WorkerProcess, case: Case, job: Job) -> None:
    worker.prepare(_JOB, job)
    worker.prepare(_WARM_UP, warm_up_job(case, job))
    worker.run(_WARM_UP)


def _turn(worker: WorkerProcess, result: Result) -> None:
    seconds, result.tokens = worker.run(_JOB)
    result.seconds.append(seconds)


def measure_jobs(
    worker: WorkerProcess, jobs: Mapping[str, Job], turns: int = 5
) -> dict[str, Measurement]:
    """Seconds of several jobs of one engine, in turns, after one turn each to warm up.

    Raises:
        WorkerError: when one fails.
    """
    samples: dict[str, list[float]] = {name: [] for name in jobs}
    for name, job in jobs.items():
        worker.prepare(name, job)
        worker.run(name)
    for _ in range(turns):
        for name, seconds in samples.items():
            seconds.append(worker.run(name)[0])
    return {name: Measurement.of(seconds) for name, seconds in samples.items()}


def translations(worker: WorkerProcess) -> list[list[int]]:
    """What the last turn gave.

    Raises:
        WorkerError: when the worker is dead.
    """
    return worker.results(_JOB)


def choose_variant(
    spec: EngineSpec, case: Case, job: Job, start: Callable[[EngineSpec, Variant], WorkerProcess]
) -> WorkerProcess:
    """The loaded worker of the fastest variant; the others are closed.

    Its attribute `tried` tells what each took for `trial_job`.

    Raises:
        WorkerError: with the first variant's reason, when none runs.
    """
    variants = [variant for variant in spec.variants if variant.suits(case)]
    if len(variants) == 1:
        return start(spec, variants[0])
    best: WorkerProcess | None = None
    fastest, tried, errors = float("inf"), [], []
    for variant in variants:
        try:
            worker = start(spec, variant)
            seconds = _try_out(worker, case, job)
        except WorkerError as error:
            tried.append(f"{variant.label}: {error}")
            errors.append(error)
            continue
        tried.append(f"{variant.label}: {seconds:.3g} s")
        slower = worker
        if seconds * _FASTER < fastest:
            best, slower, fastest = worker, best, seconds
        if slower is not None:
            slower.close()
    if best is None:
        raise errors[0]
    best.tried = tried
    return best


def _try_out(worker: WorkerProcess, case: Case, job: Job) -> float:
    try:
        worker.prepare(_TRIAL, trial_job(case, job))
        worker.run(_TRIAL)
        seconds: list[float] = []
        while len(seconds) < _TRIAL_TURNS and sum(seconds) < _TRIAL_SECONDS:
            seconds.append(worker.run(_TRIAL)[0])
        return min(seconds)
    except WorkerError:
        worker.close()
        raise
