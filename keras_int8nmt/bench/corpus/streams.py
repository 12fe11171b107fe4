"""One stream a core against the best of one stream, and what the cores can give at most."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from keras_int8nmt.bench.timing import Measurement, interleaved, row
from keras_int8nmt.bench.translation.cases import Case, Job
from keras_int8nmt.bench.translation.client import WorkerProcess
from keras_int8nmt.bench.translation.engines import ENGINES, Variant
from keras_int8nmt.bench.translation.session import Session
from keras_int8nmt.storage.model_folder import load_folder
from keras_int8nmt.translation.translator import Translator


def stream_rows(session: Session, case: Case, sentences: int, turns: int) -> list[dict[str, Any]]:
    """Target tokens/s: streams of one thread each, one stream, and independent processes.

    Args:
        session: Gives models and cores.
        case: With as many streams as there are cores.
        sentences: How many of the case's are translated, over and over where there are fewer.
        turns: Repetitions.
    """
    job = session.job(case)
    given = list(job.sentences)
    job = _with(job, [given[i % len(given)] for i in range(sentences)])
    folder = session.model_folder(case.model)
    cores = len(session.cores)
    model, _, _ = load_folder(folder / "int8")
    settings = {"1x1": (1, 1), f"1x{cores}": (1, cores), f"{cores}x1": (cores, 1)}
    translators = {name: _translator(model, job, *setting) for name, setting in settings.items()}
    tokens = sum(
        len(result.hypotheses[0].tokens)
        for result in translators["1x1"].translate_ids(job.sentences)
    )
    times = interleaved(
        {n: partial(made.translate_ids, job.sentences) for n, made in translators.items()},
        turns,
    )
    for made in translators.values():
        made.close()
    many = times[f"{cores}x1"]
    best = min(("1x1", f"1x{cores}"), key=lambda name: times[name].median)
    rows = [
        _row(f"streams {cores}x1 vs {name}", case, tokens, many, times[name])
        | {"best_single": name == best}
        for name in ("1x1", f"1x{cores}")
    ]
    together, alone = _processes(session, case, job, turns)
    whole = _row(f"{cores} processes vs 1", case, tokens, together, alone)
    whole["ours"] *= cores
    whole["ratio"] *= cores
    return [*rows, whole]


def _row(
    name: str, case: Case, tokens: int, ours: Measurement, peer: Measurement
) -> dict[str, Any]:
    return row(
        name,
        str(case),
        tokens / ours.median,
        tokens / peer.median,
        "tokens/s",
        spread=max(ours.spread, peer.spread),
        smaller_is_better=False,
    )


def _with(job: Job, sentences: list[Any]) -> Job:
    return Job(**{**job.to_dict(), "sentences": sentences})


def _translator(model: Any, job: Job, streams: int, threads: int) -> Translator:
    return Translator(
        model,
        None,
        beam_size=job.beam_size,
        batch_size=job.batch_size,
        min_length=job.min_length,
        max_length=job.max_length,
        streams=streams,
        threads_per_stream=threads,
        path="fast",
    )


def _processes(
    session: Session, case: Case, job: Job, turns: int
) -> tuple[Measurement, Measurement]:
    """Of the same work: by a process on each core at the same time, and by the first alone."""
    spec, folder = ENGINES["int8-fast"], session.model_folder(case.model)
    workers = [WorkerProcess(spec, Variant(), [core]) for core in session.cores]
    try:
        for worker in workers:
            worker.load(folder)
            worker.prepare("all", job.with_streams(1))
        with ThreadPoolExecutor(len(workers)) as threads:

            def together() -> None:
                list(threads.map(lambda worker: worker.run("all"), workers))

            calls: dict[str, Callable[[], Any]] = {
                "together": together,
                "alone": lambda: workers[0].run("all"),
            }
            times = interleaved(calls, turns)
    finally:
        for worker in workers:
            worker.close()
    return times["together"], times["alone"]
