"""Models and workers of a run: built and started when first needed, ended with it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from keras_int8nmt.bench.translation.cases import Case, Job, forced_sources, make_job
from keras_int8nmt.bench.translation.client import WorkerError, WorkerProcess
from keras_int8nmt.bench.translation.engines import EngineSpec, Variant
from keras_int8nmt.bench.translation.models import build_in_process, model_settings
from keras_int8nmt.bench.translation.rounds import choose_variant
from keras_int8nmt.bench.translation.sentences import Corpus, read_tatoeba


class Session:
    """What is loaded; a context manager, at whose end all workers are gone.

    Args:
        cores: Numbers of the cores to pin workers to; a case with s streams gets the first s.
    """

    def __init__(self, cores: Sequence[int]) -> None:
        self.cores = list(cores)
        self.tried: dict[str, list[str]] = {}  # what was measured to choose settings
        self._built: set[str] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="keras-int8nmt-bench-")
        self._workers: dict[str, WorkerProcess] = {}
        self._group: Any = None
        self._corpus: Corpus | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close_workers()
        self._folder.cleanup()

    def close_workers(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def model_folder(self, name: str) -> Path:
        """The folder of model `name`, built at first."""
        folder = Path(self._folder.name) / name
        if name not in self._built:
            say(f"building the model {name}")
            build_in_process(name, folder)
            self._built.add(name)
        return folder

    def corpus(self) -> Corpus:
        """The real sentences."""
        if self._corpus is None:
            self._corpus = read_tatoeba()
            say(f"real sentences: {self._corpus.origin}")
        return self._corpus

    def job(self, case: Case) -> Job:
        """Sentences and search settings of a case."""
        settings = model_settings(case.model)
        longest = settings["max_length"]
        if case.forced:
            return make_job(case, forced_sources(case, settings), longest)
        texts = self.corpus().sources[: case.sentences]
        # A longer source is cut, as `Translator` does it.
        sentences = [[*ids[:-1][: longest - 1], ids[-1]] for ids in map(tokenizer().encode, texts)]
        return make_job(case, sentences, longest)

    def worker(self, spec: EngineSpec, case: Case, job: Job) -> WorkerProcess:
        """The loaded worker of an engine, kept while cases are of one group.

        Raises:
            WorkerError: why there is none.
        """
        if case.group != self._group:
            self.close_workers()
            self._group = case.group
        if spec.name not in self._workers:
            reason = spec.why_not(case.model)
            if reason is not None:
                raise WorkerError(reason)
            say(f"loading {spec.name}")
            folder, cores = self.model_folder(case.model), self.cores[: case.streams]

            def start(spec: EngineSpec, variant: Variant) -> WorkerProcess:
                worker = WorkerProcess(spec, variant, cores)
                try:
                    worker.load(folder)
                except WorkerError:
                    worker.close()
                    raise
                return worker

            chosen = choose_variant(spec, case, job, start)
            if chosen.tried:
                self.tried[f"{spec.name}, {case}"] = chosen.tried
            self._workers[spec.name] = chosen
        return self._workers[spec.name]

    def drop(self, name: str) -> None:
        """Ends a worker that failed; the next case starts it anew."""
        if name in self._workers:
            self._workers.pop(name).close()


def tokenizer() -> Any:
    """That of the built-in model."""
    from keras_int8nmt.storage import builtin as builtin_model
    from keras_int8nmt.tokenizers.marian import MarianTokenizer

    return MarianTokenizer(builtin_model.FOLDER)


def decode(translations: Sequence[Sequence[int]]) -> list[str]:
    """Texts of the built-in model's tokens."""
    pieces = tokenizer()
    return [pieces.decode(ids) for ids in translations]


def say(text: str) -> None:
    """Tells what goes on, beside the result."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
