"""Sentences on their way through one model or two, from the loop of a server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from keras_int8nmt.serving.access import Gate
from keras_int8nmt.serving.catalogue import ServedModel
from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.metrics import Metrics
from keras_int8nmt.serving.scheduler import Job, Outcome, Scheduler
from keras_int8nmt.translation.results import Translation

# A model, and what hands sentences to it.
Step = tuple[ServedModel, Scheduler]


class Flow:
    """Sentences of one request. The outcomes come as they are finished, in any order.

    To be used by the loop's thread alone.

    Args:
        steps: At least one; a second one translates what the first has given.
        sentences: To translate, at least one.
        piece: Sentences that are handed over together.
        hypotheses: Translations that the last step gives of each.
        seconds: After which what is not finished is dropped.
        gate: Where each sentence counts once for each step, until it is finished or dropped.
        metrics: What is translated is counted there.

    Raises:
        RefusalError: where there is no room for them, or nobody works any more.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        sentences: Sequence[str],
        *,
        piece: int,
        hypotheses: int,
        seconds: float,
        gate: Gate,
        metrics: Metrics,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._piece, self._hypotheses = piece, hypotheses
        self._gate, self._metrics = gate, metrics
        self._left = len(sentences)
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        # Whoever waits for the next outcome, and what ends that: one timer for the whole request.
        self._waiter: asyncio.Future[None] | None = None
        self._late = False
        self._jobs: list[Job] = []
        self._inside = len(sentences) * len(steps)
        self.tokens = 0
        gate.enter(self._inside)
        try:
            self._submit(steps, range(len(sentences)), sentences)
        except RuntimeError as error:
            self._leave(self._inside)
            raise RefusalError(503, "The service is closing, or has failed.") from error
        self._timer = self._loop.call_later(seconds, self._expire)

    def _submit(
        self, steps: Sequence[Step], numbers: Sequence[int], sentences: Sequence[str]
    ) -> None:
        def told(places: Sequence[int], outcomes: Sequence[Outcome]) -> None:
            self._tell(steps, [numbers[i] for i in places], outcomes)

        hypotheses = self._hypotheses if len(steps) == 1 else 1
        _, scheduler = steps[0]
        self._jobs.append(
            scheduler.submit(sentences, told, piece=self._piece, hypotheses=hypotheses)
        )

    def _tell(
        self, steps: Sequence[Step], numbers: Sequence[int], outcomes: Sequence[Outcome]
    ) -> None:
        if not self._inside:
            # It was cancelled meanwhile.
            return
        (model, _), *rest = steps
        done = [each for each in outcomes if isinstance(each, Translation)]
        tokens = sum(len(each.hypotheses[0].tokens) for each in done)
        self.tokens += tokens
        self._metrics.translated(str(model.pair), model.precision, len(done), tokens)
        further: dict[int, str] = {}
        for number, outcome in zip(numbers, outcomes, strict=True):
            if not rest or not isinstance(outcome, Translation):
                self._outcomes.append((number, outcome))
                continue
            try:
                rest[0][0].check(outcome.text, f"The translation of sentence {number + 1}")
            except RefusalError as refusal:
                self._outcomes.append((number, refusal))
            else:
                further[number] = outcome.text
        # What failed goes no further.
        self._leave(len(further) + (len(numbers) - len(further)) * len(steps))
        if further:
            try:
                self._submit(rest, [*further], [*further.values()])
            except RuntimeError as error:
                self._leave(len(further) * len(rest))
                self._outcomes.extend((number, error) for number in further)
        if self._outcomes:
            self._wake()

    def _leave(self, sentences: int) -> None:
        self._inside -= sentences
        self._gate.leave(sentences)

    def __aiter__(self) -> Flow:
        return self

    async def __anext__(self) -> tuple[int, Outcome]:
        """The number of a sentence, and what became of it.

        Raises:
            TimeoutError: when the time is over.
        """
        if not self._left:
            raise StopAsyncIteration
        while not self._outcomes:
            if self._late:
                raise TimeoutError
            self._waiter = self._loop.create_future()
            await self._waiter
        self._left -= 1
        return self._outcomes.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        self._late = True
        self._wake()

    def cancel(self) -> None:
        """Drops what is not finished; to be called at the end, whatever that is."""
        self._timer.cancel()
        if self._inside:
            self._leave(self._inside)
            for job in self._jobs:
                job.cancel()
        # They hold what tells this of their outcomes, and so this: a cycle, which only the
        # collector would free, that seldom looks.
        self._jobs.clear()
