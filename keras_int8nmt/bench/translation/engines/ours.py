"""`Translator` on the fast path or on the layer path, one thread a stream."""

from __future__ import annotations

import inspect
from typing import Any

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines import UnavailableError
from keras_int8nmt.ops import functions as ops
from keras_int8nmt.storage.model_folder import load_folder
from keras_int8nmt.translation.translator import Translator


class Ours:
    """Our decoder.

    Args:
        folder: A folder of `models.build`.
        cores: Cores that the process is pinned to.
        folder_name: "int8" or "float".
        path: "fast" or "layers".
    """

    def __init__(self, folder: Any, cores: int, *, folder_name: str, path: str) -> None:
        self.path = path
        if path not in paths():
            raise UnavailableError("this release has no native decoder")
        ops.set_num_threads(1)
        self.model, _, _ = load_folder(folder / folder_name)
        self._translators = Translators()
        self.settings = f"{path} path, one thread a stream, return_scores=False, {_gemm()}"

    def prepare(self, job: Job) -> tuple[Translator, Job]:
        return self._translators.get(self.model, job, self.path), job

    def run(self, prepared: tuple[Translator, Job]) -> list[list[int]]:
        translator, job = prepared
        return [r.hypotheses[0].tokens for r in translator.translate_ids(job.sentences)]


class Translators:
    """Of jobs that differ in their sentences alone there is one, so that warming up helps all."""

    def __init__(self) -> None:
        self._made: dict[Any, Translator] = {}

    def get(self, model: Any, job: Job, path: str, streams: int | None = None) -> Translator:
        key = path, streams, *search_settings(job).values()
        if key not in self._made:
            self._made[key] = make_translator(model, job, path, streams)
        return self._made[key]


def search_settings(job: Job) -> dict[str, Any]:
    """All of a job but its sentences: arguments of `Translator`."""
    return {
        "beam_size": job.beam_size,
        "batch_size": job.batch_size,
        "min_length": job.min_length,
        "max_length": job.max_length,
        "streams": job.streams,
        # The engines beside ours are asked for tokens alone, too.
        "return_scores": False,
    }


def make_translator(model: Any, job: Job, path: str, streams: int | None = None) -> Translator:
    """A `Translator` set as the job says, but for `streams` where given.

    Raises:
        UnavailableError: when it can't take `path` with this model.
    """
    settings = search_settings(job)
    if streams is not None:
        settings["streams"] = streams
    if "fast" in paths():
        settings.update(path=path, threads_per_stream=1)
    elif path == "fast":
        raise UnavailableError("this release has no native decoder")
    try:
        translator = Translator(model, None, **settings)
    except (ValueError, RuntimeError) as error:
        if path != "fast":
            raise
        raise UnavailableError(str(error)) from error
    taken = getattr(translator, "path", path)
    if taken != path:
        raise UnavailableError(f"the Translator takes the path {taken!r}")
    return translator


def paths() -> tuple[str, ...]:
    """Paths that this release's `Translator` can be told to take, the fastest first."""
    known = "path" in inspect.signature(Translator).parameters
    return ("fast", "layers") if known else ("layers",)


def _gemm() -> str:
    info = ops.native_info()
    return f"{info['gemm']}, {info['isa']}" if info["native"] else "no native library"
