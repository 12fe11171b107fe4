"""Runs a service: one process, or a parent that keeps several workers running."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NoReturn

from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.serving.connections import bounded_protocol
from keras_int8nmt.serving.create import create_app
from keras_int8nmt.serving.errors import ServingError
from keras_int8nmt.serving.logs import say, start_logs
from keras_int8nmt.serving.metrics import SHARED_FOLDER, forget_process
from keras_int8nmt.serving.settings import ServingSettings

_BACKLOG = 2048
# A worker that ended sooner is not begun again at once.
_SHORTEST_LIFE = 1.0
# What a worker has for its last requests beside the time of one.
_GRACE = 10
_STOPS = (signal.SIGTERM, signal.SIGINT)
# Objects that may be made before the youngest are looked through for cycles, and how often that is
# done before those are that stayed. A request makes some hundreds, and leaves next to none.
_COLLECTING = (10_000, 20, 20)


def serve(
    models: Sequence[str],
    settings: ServingSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    workers: int = 1,
    threads: int | None = None,
    **options: Any,
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what was accepted.

    Args:
        models: As for `create_app`.
        settings: Likewise.
        host: Address to listen at.
        port: 0: any that is free; the first line of the logs says which.
        workers: Processes. They share the models' weights, and each has cores of its own.
        threads: Decoder threads of each; None: the cores by the workers.
        **options: Arguments of `Translator`.

    Raises:
        ServingError: where the address can't be listened at, and as `create_app`.
        ImportError, ModelFolderError, SpecFileError, TokenizerError: see `create_app`.
    """
    if workers > 1 and not hasattr(os, "fork"):
        raise ServingError("Several workers need a system that forks processes.")
    if threads is None:
        threads = max(1, usable_cores() // workers)
    start_logs()
    listening = _listen(host, port)
    folder = tempfile.mkdtemp(prefix="keras-int8nmt-serve-")
    try:
        files = os.path.join(folder, "files")
        os.mkdir(files)
        settings = replace(settings, file_folder=files)
        if workers > 1:
            # Before the counters are made, which look at it.
            os.environ[SHARED_FOLDER] = os.path.join(folder, "metrics")
            os.mkdir(os.environ[SHARED_FOLDER])
        app = create_app(models, settings, streams=threads, **options)
        say("listening", host=host, port=listening.getsockname()[1], workers=workers)
        with _less_collecting():
            if workers == 1:
                _run(app, listening, settings)
            else:
                _Workers(app, listening, settings, workers, threads).run()
    finally:
        listening.close()
        if os.environ.get(SHARED_FOLDER, "").startswith(folder):
            del os.environ[SHARED_FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _less_collecting() -> Iterator[None]:
    """Spares the collector what is loaded by now: it lives as long as the process.

    To look through it again and again takes a fifth of the time of requests, and now and then makes
    one wait for milliseconds; workers that are forked share it as long as nobody looks.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTING)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise ServingError(f"{host}:{port} can't be listened at: {reason}.") from error
    return listening


def _run(
    app: Any, listening: socket.socket, settings: ServingSettings, parent: int | None = None
) -> None:
    """Serves in this process until it is told to stop.

    Args:
        app: An ASGI application.
        listening: A socket.
        settings: Of the service.
        parent: A pipe that ends when the parent does; then this stops, too.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        http=bounded_protocol(settings.connections),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=settings.idle_seconds,
        timeout_graceful_shutdown=settings.seconds + _GRACE,
    )
    server = uvicorn.Server(config)

    def stop(*_: Any) -> None:
        server.should_exit = True

    async def serving() -> None:
        if parent is not None:
            loop = asyncio.get_running_loop()

            def parent_is_gone() -> None:
                loop.remove_reader(parent)
                stop()

            loop.add_reader(parent, parent_is_gone)
        await server.serve(sockets=[listening])

    # For a signal that comes before uvicorn takes them. When it has stopped, it raises the one that
    # told it to once more.
    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        # uvloop's, where it is installed.
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(serving())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Workers:
    """Forks workers, begins those anew that die, and ends all when it is told to.

    Args:
        app: An ASGI application that has no threads yet.
        listening: A socket that all accept from: what a dying worker has not accepted, others do.
        settings: Of the service.
        count: Workers.
        threads: Decoder threads of each.
    """

    def __init__(
        self,
        app: Any,
        listening: socket.socket,
        settings: ServingSettings,
        count: int,
        threads: int,
    ) -> None:
        self._app, self._listening, self._settings = app, listening, settings
        self._count, self._threads = count, threads
        # Number and time of birth of each worker, by its process.
        self._workers: dict[int, tuple[int, float]] = {}
        self._stopping = False
        self._reading, self._writing = os.pipe()

    def run(self) -> None:
        """Returns when all workers have ended after a signal."""
        before = {number: signal.signal(number, self._stop) for number in _STOPS}
        try:
            for number in range(self._count):
                if not self._stopping:
                    self._begin(number)
            while self._workers:
                self._wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._reading)
            os.close(self._writing)

    def _begin(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # One that told the worker to stop before it has handlers of its own would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            process = os.fork()
            if process == 0:
                self._work(number)
            self._workers[process] = number, time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        say("worker", number=number, pid=process)
        if self._stopping:
            # The signal came after the last one was told and before this one was begun.
            self._tell(process)

    def _wait(self) -> None:
        process, status = os.waitpid(-1, 0)
        if process not in self._workers:
            return
        number, born = self._workers.pop(process)
        forget_process(process)
        if self._stopping:
            return
        say("worker died", number=number, pid=process, status=os.waitstatus_to_exitcode(status))
        if time.monotonic() - born < _SHORTEST_LIFE:
            time.sleep(_SHORTEST_LIFE)
        if not self._stopping:
            self._begin(number)

    def _stop(self, *_: Any) -> None:
        self._stopping = True
        for process in [*self._workers]:
            self._tell(process)

    @staticmethod
    def _tell(process: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)

    def _work(self, number: int) -> NoReturn:
        """The life of a worker."""
        status = 1
        try:
            for stop in _STOPS:
                signal.signal(stop, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
            os.close(self._writing)
            _take_cores(number, self._threads)
            _run(self._app, self._listening, self._settings, self._reading)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            # Nothing of the parent's is cleared away here.
            os._exit(status)


def _take_cores(number: int, threads: int) -> None:
    """Holds a worker to cores of its own: the decoder pins its threads to the first that it has."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    first = number * threads
    os.sched_setaffinity(0, {cores[(first + i) % len(cores)] for i in range(threads)})
