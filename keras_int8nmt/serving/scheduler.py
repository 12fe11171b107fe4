"""Sentences of all clients into the continuous batching of one translator, in turns.

The translator's streams take sentences from one queue, first come, first served, and compute those
of any request together. So that a long request does not stand before all others, it is handed over
in small pieces, those of all requests in turns, and never more than keep the streams busy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from keras_int8nmt._threads import Task
from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.logs import say
from keras_int8nmt.translation.results import AsyncTranslations, SentenceError, Translation

# Sentences of a request that are handed over together: each piece costs its own wait.
PIECE = 8
# How long a piece is waited for before the others are looked at, and new ones are handed over.
_PATIENCE_MS = 2
# With more pieces than this the streams are busy, and all are looked at once in a nap of so many
# seconds, which becomes longer as long as nothing is finished: to wake for each sentence would take
# time from the streams and from the loop.
_MANY, _SHORT_NAP, _LONG_NAP = 8, 0.002, 0.016

# Of a sentence: its translation, what is wrong with it, or the error of an engine that failed.
Outcome = Translation | str | Exception
# Places of some sentences in their job, and what became of them.
Told = Callable[[Sequence[int], Sequence[Outcome]], Any]


class Job:
    """Sentences of one request; see `Scheduler.submit`."""

    def __init__(
        self,
        scheduler: Scheduler,
        sentences: Sequence[str],
        told: Told,
        piece: int,
        hypotheses: int,
    ) -> None:
        self.sentences, self.told = sentences, told
        self.piece, self.hypotheses = piece, hypotheses
        self.handed_over = 0
        self.cancelled = False
        self._scheduler = scheduler

    def cancel(self) -> None:
        """Drops what is not finished; nothing is told of it."""
        self._scheduler.cancel(self)


class _Piece:
    """Sentences of a job that the translator has."""

    def __init__(self, job: Job, places: range) -> None:
        self.job, self.places = job, places
        self.pending: AsyncTranslations | None = None


class Scheduler:
    """Hands the sentences of many jobs to one translator; safe from many threads at once.

    One thread tokenizes, hands over, waits and detokenizes, while the streams compute.

    Args:
        translator: On the native engine, with a tokenizer. It stays its owner's.
        filled: Called by that thread whenever sentences are handed over, with the share of the
            streams' places that have one.
    """

    def __init__(self, translator: Any, filled: Callable[[float], Any] | None = None) -> None:
        self._translator, self._filled = translator, filled
        settings = translator.native_engine.settings
        self.places = settings["streams"] * settings["batch_size"]
        # A few more, for those that finish until the next are handed over.
        self._most_begun = self.places + max(PIECE, self.places // 4)
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._begun: list[_Piece] = []
        self._sentences = 0  # of those
        self._closing = False
        self._failed = False
        self._thread: Task | None = None
        self._nap = _SHORT_NAP

    def submit(
        self, sentences: Sequence[str], told: Told, *, piece: int = PIECE, hypotheses: int = 1
    ) -> Job:
        """Takes sentences and does not wait for them.

        Args:
            sentences: At least one.
            told: Called by the thread of this scheduler for every piece that is finished. It must
                not wait for anything.
            piece: Sentences that are handed over and told of together.
            hypotheses: Translations of each that are given.

        Raises:
            RuntimeError: when it was closed.
        """
        job = Job(self, sentences, told, piece, hypotheses)
        with self._changed:
            if self._closing:
                raise RuntimeError("The service is closed.")
            if self._thread is None:
                self._thread = Task(self._serve)
            self._waiting.append(job)
            self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        with self._changed:
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
            begun = [piece.pending for piece in self._begun if piece.job is job]
        for pending in begun:
            if pending is not None:
                pending.cancel()

    @property
    def healthy(self) -> bool:
        """Whether its thread works, or has never begun; if not, nothing is finished any more."""
        return not self._failed

    @property
    def begun(self) -> int:
        """Sentences that the translator has."""
        return self._sentences

    def close(self) -> None:
        """Finishes what was submitted, then ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.wait()

    # ---- the thread

    def _serve(self) -> None:
        try:
            self._run()
        except BaseException:
            # None that is known of. Whoever asks for the process' health has it begun anew.
            say("scheduler failed", logging.ERROR, error=True)
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Tells all that is not finished that it will not be."""
        with self._changed:
            self._failed = self._closing = True
            left = [(piece.job, piece.places) for piece in self._begun]
            left += [(job, range(job.handed_over, len(job.sentences))) for job in self._waiting]
            self._begun.clear()
            self._waiting.clear()
            self._sentences = 0
        for job, places in left:
            if not job.cancelled:
                job.told(places, [RefusalError(503, "The service has failed.")] * len(places))

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._begun:
                    if self._closing:
                        return
                    self._changed.wait()
                taken = self._take()
            for piece in taken:
                self._begin(piece)
            if taken and self._filled is not None:
                self._filled(min(1.0, self.begun / self.places))
            if self._begun:
                self._finish()

    def _take(self) -> list[_Piece]:
        """The next pieces, of each job one in turns. Called with the lock."""
        taken: list[_Piece] = []
        room = self._most_begun - self._sentences
        while self._waiting and room > 0:
            job = self._waiting.popleft()
            end = min(job.handed_over + job.piece, len(job.sentences))
            taken.append(_Piece(job, range(job.handed_over, end)))
            room -= end - job.handed_over
            self._sentences += end - job.handed_over
            job.handed_over = end
            if end < len(job.sentences):
                self._waiting.append(job)
        self._begun += taken
        return taken

    def _begin(self, piece: _Piece) -> None:
        job = piece.job
        if job.cancelled:
            self._drop(piece)
            return
        texts = [job.sentences[i] for i in piece.places]
        try:
            pending = self._translator.begin(texts, num_hypotheses=job.hypotheses)
        except Exception as error:  # of this request; the others go on
            self._drop(piece)
            job.told(piece.places, [error] * len(texts))
            return
        with self._changed:
            piece.pending = pending
        if job.cancelled:
            pending.cancel()

    def _finish(self) -> None:
        """Tells of what is finished, after a short wait for the oldest."""
        if len(self._begun) > _MANY:
            time.sleep(self._nap)
            self._nap = min(_LONG_NAP, 2 * self._nap)
        else:
            first = self._begun[0].pending
            assert first is not None
            first.is_over(_PATIENCE_MS)
        for piece in [*self._begun]:
            assert piece.pending is not None
            if not piece.pending.is_over():
                continue
            self._nap = _SHORT_NAP
            self._drop(piece)
            if piece.job.cancelled:
                piece.pending.cancel()
                continue
            piece.job.told(piece.places, _outcomes(piece.pending, len(piece.places)))

    def _drop(self, piece: _Piece) -> None:
        with self._changed:
            self._begun.remove(piece)
            self._sentences -= len(piece.places)


def _outcomes(pending: AsyncTranslations, count: int) -> Sequence[Outcome]:
    try:
        return pending.results()
    except SentenceError as error:
        return error.outcomes
    except Exception as error:  # such as a NaN of a model: of this request
        return [error] * count
