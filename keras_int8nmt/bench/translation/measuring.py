"""One case: what was kept of an earlier run, or all its engines measured together."""

from __future__ import annotations

from collections.abc import Mapping

from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.client import WorkerError, WorkerProcess
from keras_int8nmt.bench.translation.engines import EngineSpec
from keras_int8nmt.bench.translation.figures import ours_of
from keras_int8nmt.bench.translation.quality import compare_quality
from keras_int8nmt.bench.translation.rounds import Result, Rules, measure, translations
from keras_int8nmt.bench.translation.session import Session, decode, say
from keras_int8nmt.bench.translation.state import State


def case_results(
    session: Session, case: Case, specs: Mapping[str, EngineSpec], kept: State, rules: Rules
) -> dict[str, Result]:
    """Results of a case by engine, in the order of `specs`.

    Where an engine's result is not kept, all are measured: a ratio is never made of two runs. An
    engine that can't run here has the reason instead, which is not kept.
    """
    absent = {n: Result(reason=why) for n, s in specs.items() if (why := s.why_not(case.model))}
    wanted = {name: spec for name, spec in specs.items() if name not in absent}
    results = kept.get(case)
    if wanted.keys() <= results.keys():
        say(f"{case}: measured before")
    else:
        say(f"{case}:")
        results = _measured(session, case, wanted, rules)
        kept.add(case, results)
    return {name: absent.get(name) or results[name] for name in specs}


def _measured(
    session: Session, case: Case, specs: Mapping[str, EngineSpec], rules: Rules
) -> dict[str, Result]:
    job = session.job(case)
    workers: dict[str, WorkerProcess] = {}
    results: dict[str, Result] = {}
    for name, spec in specs.items():
        try:
            workers[name] = session.worker(spec, case, job)
        except WorkerError as error:
            results[name] = Result(reason=str(error))
    results |= measure(case, job, workers, rules)
    if not case.forced:
        _add_quality(session, workers, results)
    for name, result in results.items():
        if result.reason is None:
            say(f"  {name}: {result.speed:.4g} tokens/s, spread {100 * result.spread:.0f} %")
        else:
            say(f"  {name}: {result.reason}")
            session.drop(name)
    return results


def _add_quality(
    session: Session, workers: Mapping[str, WorkerProcess], results: dict[str, Result]
) -> None:
    texts = {}
    for name, worker in workers.items():
        if results[name].reason is None:
            try:
                texts[name] = decode(translations(worker))
            except WorkerError as error:
                results[name].reason = str(error)
    corpus = session.corpus()
    count = max(map(len, texts.values()), default=0)
    quality = compare_quality(ours_of(results), texts, corpus.references[:count])
    for name, found in quality.items():
        results[name].extra.update(found, corpus=corpus.origin)
