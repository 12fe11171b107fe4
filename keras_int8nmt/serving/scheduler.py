"""Sentences of all clients into the continuous batching of one translator, in turns.

The translator's streams take sentences from one queue, first come, first served, and compute those
of any request together. So that a long request does not stand before all others, it is handed over
in small pieces, those of all requests in turns, and never more than keep the streams busy.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.logs import say
from keras_int8nmt.translation.results import AsyncTranslations, SentenceError, Translation

# Sentences of a request that are handed over together.
PIECE = 8

# Seconds from one look at what is finished to the next where the streams are busy: what was read
# and computed for one request is then still in the CPU's caches for the next.
_NAP = 0.012

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
    """Hands the sentences of many jobs to one translator.

    Of one thread, that of a running loop, which tokenizes, hands over and detokenizes, while the
    streams compute; they tell it through a pipe what is finished. A thread of its own would have to
    be woken for each request, and take the interpreter from the loop's.

    Args:
        translator: On the native engine, with a tokenizer. It stays its owner's.
        filled: Called whenever sentences are handed over, with the share of the streams' places
            that have one.
    """

    def __init__(self, translator: Any, filled: Callable[[float], Any] | None = None) -> None:
        self._translator, self._filled = translator, filled
        settings = translator.native_engine.settings
        self.places = settings["streams"] * settings["batch_size"]
        # A few more, for those that finish until the next are handed over.
        self._most_begun = self.places + max(PIECE, self.places // 4)
        self._waiting: deque[Job] = deque()
        self._begun: set[_Piece] = set()
        self._sentences = 0  # of those
        self._closing = False
        self._failed = False
        self._ended: asyncio.Future[None] | None = None
        # Decoders that the loop looks after, by their descriptors; held until it does no more.
        self._watched: dict[int, Any] = {}

    def submit(
        self, sentences: Sequence[str], told: Told, *, piece: int = PIECE, hypotheses: int = 1
    ) -> Job:
        """Takes sentences and does not wait for them.

        Args:
            sentences: At least one.
            told: Called for every piece that is finished, at the earliest when this has returned.
            piece: Sentences that are handed over and told of together.
            hypotheses: Translations of each that are given.

        Raises:
            RuntimeError: when it was closed.
        """
        if self._closing:
            raise RuntimeError("The service is closed.")
        job = Job(self, sentences, told, piece, hypotheses)
        self._waiting.append(job)
        self._work(self._hand_over)
        return job

    def cancel(self, job: Job) -> None:
        job.cancelled = True
        if job in self._waiting:
            self._waiting.remove(job)
        for piece in [piece for piece in self._begun if piece.job is job]:
            self._drop(piece)
            if piece.pending is not None:
                piece.pending.cancel()
        self._work(self._hand_over)

    @property
    def healthy(self) -> bool:
        """Whether it works; if not, nothing is finished any more."""
        return not self._failed

    @property
    def begun(self) -> int:
        """Sentences that the translator has."""
        return self._sentences

    async def close(self) -> None:
        """Finishes what was submitted."""
        self._closing = True
        loop = asyncio.get_running_loop()
        if self._waiting or self._begun:
            self._ended = loop.create_future()
            await self._ended
        for descriptor in self._watched:
            loop.remove_reader(descriptor)
        self._watched.clear()

    # ---- from jobs to pieces, and back

    def _work(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception:
            # None that is known of. Whoever asks for the process' health has it begun anew.
            say("scheduler failed", logging.ERROR, error=True)
            self._give_up()
        if self._ended is not None and not self._waiting and not self._begun:
            ended, self._ended = self._ended, None
            ended.set_result(None)

    def _give_up(self) -> None:
        """Tells all that is not finished that it will not be."""
        self._failed = self._closing = True
        left = [(piece.job, piece.places) for piece in self._begun]
        left += [(job, range(job.handed_over, len(job.sentences))) for job in self._waiting]
        self._begun.clear()
        self._waiting.clear()
        self._sentences = 0
        for job, places in left:
            failures = [RefusalError(503, "The service has failed.")] * len(places)
            asyncio.get_running_loop().call_soon(self._tell, job, places, failures)

    def _hand_over(self) -> None:
        taken = self._take()
        for piece in taken:
            self._begin(piece)
        if taken and self._filled is not None:
            self._filled(min(1.0, self.begun / self.places))

    def _take(self) -> list[_Piece]:
        """The next pieces, of each job one in turns."""
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
        self._begun.update(taken)
        return taken

    def _begin(self, piece: _Piece) -> None:
        job, loop = piece.job, asyncio.get_running_loop()
        texts = [job.sentences[i] for i in piece.places]
        try:
            piece.pending = self._translator.begin(texts, num_hypotheses=job.hypotheses)
            self._watch(loop)
            told = piece.pending.when_over(partial(self._finish, piece))
        except Exception as error:  # of this request; the others go on
            self._drop(piece)
            loop.call_soon(self._tell, job, piece.places, [error] * len(texts))
            return
        if not told:
            # It has nothing to translate.
            loop.call_soon(self._work, partial(self._finish, piece))

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Looks after the decoder that has begun: another one where that before was closed."""
        decoder = self._translator.native_engine.decoder()
        descriptor = decoder.over_descriptor()
        if self._watched.get(descriptor) is not decoder:
            self._watched[descriptor] = decoder
            loop.add_reader(descriptor, self._over, descriptor)

    def _over(self, descriptor: int) -> None:
        """Something is finished: all that is, at once or, where the streams are busy, in a nap."""
        loop = asyncio.get_running_loop()
        if self._sentences <= self.places // 2:
            self._work(self._watched[descriptor].call_over)
            return
        loop.remove_reader(descriptor)
        loop.call_later(_NAP, self._look, descriptor)

    def _look(self, descriptor: int) -> None:
        decoder = self._watched.get(descriptor)
        if decoder is not None:
            self._work(decoder.call_over)
            asyncio.get_running_loop().add_reader(descriptor, self._over, descriptor)

    def _finish(self, piece: _Piece) -> None:
        if piece not in self._begun:
            return
        self._drop(piece)
        # First of all, so that the streams have work meanwhile.
        self._hand_over()
        assert piece.pending is not None
        self._tell(piece.job, piece.places, _outcomes(piece.pending, len(piece.places)))

    def _tell(self, job: Job, places: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        if not job.cancelled:
            job.told(places, outcomes)

    def _drop(self, piece: _Piece) -> None:
        self._begun.remove(piece)
        self._sentences -= len(piece.places)


def _outcomes(pending: AsyncTranslations, count: int) -> Sequence[Outcome]:
    try:
        return pending.results()
    except SentenceError as error:
        return error.outcomes
    except Exception as error:  # such as a NaN of a model: of this request
        return [error] * count
