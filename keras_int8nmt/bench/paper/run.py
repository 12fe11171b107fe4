"""`bench paper`: all parts in order."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from keras_int8nmt.bench.paper.op_count import op_count_rows
from keras_int8nmt.bench.paper.sorting import sorting_rows
from keras_int8nmt.bench.timing import row
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.client import WorkerError, available_cores
from keras_int8nmt.bench.translation.engines import ENGINES, OUT_OF_THE_BOX
from keras_int8nmt.bench.translation.engines.ours import paths
from keras_int8nmt.bench.translation.measuring import case_results
from keras_int8nmt.bench.translation.models import model_settings
from keras_int8nmt.bench.translation.rounds import Rules, measure_jobs
from keras_int8nmt.bench.translation.run import compared, int8_peak, machine_and_versions
from keras_int8nmt.bench.translation.sentences import read_news
from keras_int8nmt.bench.translation.session import Session, say, tokenizer
from keras_int8nmt.bench.translation.state import State
from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.storage.model_folder import load_folder

_GEMM = "from keras_int8nmt.bench.gemm import run_gemm as run; result = run((8, 128))"
_GATHER = "from keras_int8nmt.bench.gather import run_gather as run; result = run()"
_SORTED_SENTENCES = 256


def run_paper(model: str = "base") -> dict[str, Any]:
    """Measures what the paper reports: products, gather, graph, sorting, streams, end to end.

    "Float out of the box" is the plain Keras model as Keras' own tutorials search with it, the
    whole model called on the tokens so far for each token; "best float" is the same model with
    caches in one traced function, in the faster of its settings.

    Args:
        model: A name of `models.MODELS`, for streams and end to end.

    Returns:
        `machine` and `rows`.
    """
    rows = []
    if ops.native_available():
        for name, program in (("products", _GEMM), ("gather", _GATHER)):
            say(name)
            rows += _rows_of_process(program)
    with Session(available_cores()) as session:
        rows += _graph_rows(session, model)
        rows += _sorting_rows(session)
        rows += _stream_rows(session, model)
        rows += _end_to_end_rows(session, model)
    return {"machine": machine_and_versions(), "rows": rows}


def _rows_of_process(program: str) -> list[dict[str, Any]]:
    """Rows of a benchmark that sets TensorFlow's threads, in a process of its own."""
    whole = f"import json; {program}; print(json.dumps(result))"
    finished = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"A benchmark failed:\n{finished.stderr}")
    return json.loads(finished.stdout.splitlines()[-1])["rows"]


def _graph_rows(session: Session, model: str) -> list[dict[str, Any]]:
    say("operations of the graph")
    folder = session.model_folder(model)
    int8, plain = (load_folder(folder / form)[0] for form in ("int8", "float"))
    return op_count_rows(int8, plain, build_transformer(True, **plain.settings), model)


def _sorting_rows(session: Session) -> list[dict[str, Any]]:
    say("sorting")
    corpus = read_news()
    say(f"sentences: {corpus.origin}")
    texts = [text for text in corpus.sources if text.strip()][:_SORTED_SENTENCES]
    encoded = [tokenizer().encode(text) for text in texts]
    int8, _, _ = load_folder(session.model_folder("tiny") / "int8")
    ops.set_num_threads(1)
    name = corpus.origin.partition(":")[0]
    return [row for path in paths() for row in sorting_rows(int8, texts, encoded, path, name)]


def _stream_rows(session: Session, model: str) -> list[dict[str, Any]]:
    """One stream against as many as there are cores, on the same sentences in one process."""
    cores = len(session.cores)
    case = Case(model, 4, 32, cores, 27 if model == "base" else 8)
    if cores == 1:
        say("streams: there is one core")
        return []
    say("streams")
    job = session.job(case)
    jobs = {str(n): job.with_streams(n) for n in (cores, 1)}
    spec = ENGINES[f"int8-{paths()[0]}"]
    try:
        times = measure_jobs(session.worker(spec, case, job), jobs)
    except WorkerError as error:
        raise RuntimeError(f"{spec.name}: {error}") from error
    many, one = times[str(cores)], times["1"]
    tokens = len(job.sentences) * case.target_tokens
    return [
        row(
            f"{spec.name} streams {cores} vs 1",
            str(case),
            tokens / many.median,
            tokens / one.median,
            "tokens/s",
            spread=max(many.spread, one.spread),
            smaller_is_better=False,
        )
    ]


def _end_to_end_rows(session: Session, model: str) -> list[dict[str, Any]]:
    case = Case(model, 1, 32, len(session.cores), 27 if model == "base" else 8)
    names = [f"int8-{paths()[0]}", "keras-float32"]
    specs = {name: ENGINES[name] for name in names} | {OUT_OF_THE_BOX.name: OUT_OF_THE_BOX}
    rules = Rules(always=(names[0],), least=3)
    results = case_results(session, case, specs, State(None, {}), rules)
    return compared(case, results, model_settings(model), int8_peak())
