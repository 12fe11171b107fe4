"""What a service does with a checked request, apart from HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial

from keras_int8nmt.serving.access import Gate
from keras_int8nmt.serving.catalogue import Catalogue, ServedModel
from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.flow import Flow
from keras_int8nmt.serving.languages import Detected, Detector
from keras_int8nmt.serving.logs import say
from keras_int8nmt.serving.markup import html_passage
from keras_int8nmt.serving.metrics import Metrics
from keras_int8nmt.serving.passages import Passage, plain_passage
from keras_int8nmt.serving.queries import AUTO, Query
from keras_int8nmt.serving.scheduler import PIECE, Outcome, Scheduler
from keras_int8nmt.serving.settings import ServingSettings
from keras_int8nmt.translation.results import Translation

# Texts of more characters are cut into sentences in a thread of their own.
_LONG = 4_000
# Sentences of a file that are under way together.
_SLICE = 256
_NAP = 0.05


@dataclass
class Source:
    """A text to translate: its passage, the models for it, and its language where it was asked."""

    passage: Passage
    way: list[ServedModel]
    detected: Detected | None


@dataclass
class Answer:
    """The translations of a request.

    Attributes:
        texts: Of each text.
        alternatives: Of each text, further ones.
        detected: Of each text its language, where that was asked.
        sentences: How many there were.
        tokens: Of their translations.
    """

    texts: list[str]
    alternatives: list[list[str]]
    detected: list[Detected | None]
    sentences: int = 0
    tokens: int = 0


class Service:
    """Translates for the clients of one process; its methods belong to the loop's thread.

    Args:
        catalogue: The models.
        settings: Limits.
        metrics: What is counted.
    """

    def __init__(self, catalogue: Catalogue, settings: ServingSettings, metrics: Metrics) -> None:
        self.catalogue, self.settings, self.metrics = catalogue, settings, metrics
        self.gate = Gate(settings.queue)
        self.closing = False
        self._detector = Detector()
        self._schedulers = {
            model: Scheduler(
                model.translator, partial(metrics.filled, str(model.pair), model.precision)
            )
            for model in catalogue.models
        }

    def start(self) -> None:
        """Begins the models' threads: where it was forked, after that."""
        for model in self.catalogue.models:
            model.translator.native_engine.decoder()

    async def close(self) -> None:
        """Finishes what was accepted, then ends the threads."""
        self.closing = True
        for scheduler in self._schedulers.values():
            await scheduler.close()
        for model in self.catalogue.models:
            await asyncio.to_thread(model.translator.close)

    @property
    def healthy(self) -> bool:
        """Whether what is asked of it can be finished."""
        return all(scheduler.healthy for scheduler in self._schedulers.values())

    def detect(self, text: str) -> list[Detected]:
        """The languages that a text may be in, the likeliest first."""
        return self._detector.rank(text)

    def observe(self) -> None:
        """Sets the gauges."""
        self.metrics.queue.set(self.gate.inside)
        self.metrics.begun.set(sum(each.begun for each in self._schedulers.values()))

    async def translate(self, query: Query) -> Answer:
        """Translates the texts of a request.

        Raises:
            RefusalError: beyond a limit, without a way, or for a sentence that can't be translated.
        """
        sources = await self._sources(query)
        answer = Answer([], [], [source.detected for source in sources])
        found: dict[tuple[int, int], Translation] = {}
        with self._flows(sources, query, PIECE, answer) as flows:
            for flow, places in flows:
                async for number, outcome in flow:
                    found[places[number]] = _checked(outcome, places[number][1])
        _fill(answer, sources, found, query)
        return answer

    def stream(self, query: Query) -> AsyncGenerator[tuple[int, int, Translation] | Answer]:
        """Yields each sentence as it is finished: the number of its text, its own, and its
        translation; then the answer to all.

        Raises:
            RefusalError: as `translate`, mostly before anything is yielded.
        """
        return self._streamed(query)

    async def translate_file(self, query: Query) -> Answer:
        """Translates a long text slice by slice, each as soon as there is room for it."""
        (source,) = await self._sources(query, of_file=True)
        answer = Answer([], [[]], [source.detected])
        translations: list[str] = []
        sentences = source.passage.sentences
        for start in range(0, len(sentences), _SLICE):
            part = Source(Passage([], sentences[start : start + _SLICE]), source.way, None)
            if start:
                await self._room(_SLICE * len(source.way))
            found = [""] * len(part.passage.sentences)
            outcomes = self._translations([part], query, PIECE, answer)
            async with aclosing(outcomes):
                async for (_, s), translation in outcomes:
                    found[s] = translation.text
            translations += found
        answer.texts.append(source.passage.filled(translations))
        return answer

    # ---- from texts to sentences

    async def _sources(self, query: Query, *, of_file: bool = False) -> list[Source]:
        if self.closing:
            raise RefusalError(503, "The service is closing.", {"Retry-After": "1"})
        if sum(map(len, query.texts)) > _LONG:
            sources = await asyncio.to_thread(lambda: [self._source(t, query) for t in query.texts])
        else:
            sources = [self._source(text, query) for text in query.texts]
        sentences = sum(len(source.passage.sentences) for source in sources)
        if sentences > self.settings.sentences and not of_file:
            raise RefusalError(
                413,
                f"{sentences} sentences were sent; at most {self.settings.sentences} are taken.",
            )
        return sources

    def _source(self, text: str, query: Query) -> Source:
        language, detected = query.source, None
        if language == AUTO:
            # What can be translated, or need not be, is expected.
            ranked = self._detector.rank(text, self.catalogue.codes)
            if ranked:
                detected = ranked[0]
            else:
                # A text without a letter is in any language.
                detected = Detected(self.catalogue.first_source(query.target), 0.0)
            language = detected.language
        way = self.catalogue.way(language, query.target, query.precision)
        if not way:
            return Source(Passage([text] if text else []), [], detected)
        cut = html_passage if query.format == "html" else plain_passage
        passage = cut(text, language)
        for number, sentence in enumerate(passage.sentences, 1):
            way[0].check(sentence, f"Sentence {number}")
        return Source(passage, way, detected)

    # ---- from sentences to translations

    async def _streamed(
        self, query: Query
    ) -> AsyncGenerator[tuple[int, int, Translation] | Answer]:
        """See `stream`."""
        sources = await self._sources(query)
        found: dict[tuple[int, int], Translation] = {}
        answer = Answer([], [], [source.detected for source in sources])
        # Closed at once where the client goes, not when somebody clears away what is left.
        async with aclosing(self._translations(sources, query, 1, answer)) as translations:
            async for place, translation in translations:
                found[place] = translation
                yield (*place, translation)
        _fill(answer, sources, found, query)
        yield answer

    async def _translations(
        self, sources: Sequence[Source], query: Query, piece: int, answer: Answer
    ) -> AsyncGenerator[tuple[tuple[int, int], Translation]]:
        """Yields the translations of all sentences, with the numbers of text and sentence.

        `piece` sentences are handed over and finished together.
        """
        with self._flows(sources, query, piece, answer) as flows:
            for flow, places in flows:
                async for number, outcome in flow:
                    yield places[number], _checked(outcome, places[number][1])

    @contextmanager
    def _flows(
        self, sources: Sequence[Source], query: Query, piece: int, answer: Answer
    ) -> Iterator[list[tuple[Flow, list[tuple[int, int]]]]]:
        """The sentences on their way, and their places; what is not finished is dropped after it.

        What they were is added to `answer`.
        """
        flows: list[tuple[Flow, list[tuple[int, int]]]] = []
        try:
            for way, places in _ways(sources).items():
                flow = Flow(
                    [(model, self._schedulers[model]) for model in way],
                    [sources[t].passage.sentences[s] for t, s in places],
                    piece=piece,
                    hypotheses=1 + query.alternatives,
                    seconds=self.settings.seconds,
                    gate=self.gate,
                    metrics=self.metrics,
                )
                flows.append((flow, places))
            yield flows
        except TimeoutError as error:
            raise self._too_late() from error
        finally:
            for flow, places in flows:
                flow.cancel()
                answer.sentences += len(places)
                answer.tokens += flow.tokens

    async def _room(self, sentences: int) -> None:
        """Waits until so many may come."""
        try:
            async with asyncio.timeout(self.settings.seconds):
                while not self.gate.has_room(sentences):
                    await asyncio.sleep(_NAP)
        except TimeoutError as error:
            raise self._too_late() from error

    def _too_late(self) -> RefusalError:
        return RefusalError(
            503,
            f"It took more than {self.settings.seconds} seconds.",
            {"Retry-After": str(self.gate.wait())},
        )


def _fill(
    answer: Answer,
    sources: Sequence[Source],
    found: Mapping[tuple[int, int], Translation],
    query: Query,
) -> None:
    """Puts the translations of sentences, by the numbers of text and sentence, into the texts."""
    for t, source in enumerate(sources):
        best, others = _filled(source, [found[t, s] for s in _numbers(source)], query)
        answer.texts.append(best)
        answer.alternatives.append(others)


def _numbers(source: Source) -> range:
    return range(len(source.passage.sentences))


def _checked(outcome: Outcome, number: int) -> Translation:
    if isinstance(outcome, Translation):
        return outcome
    if isinstance(outcome, RefusalError):
        raise outcome
    if isinstance(outcome, str):
        raise RefusalError(400, f"Sentence {number + 1} can't be translated.")
    say("failed", logging.ERROR, error_class=type(outcome).__name__)
    raise RefusalError(500, f"The model failed on sentence {number + 1}.")


def _ways(sources: Sequence[Source]) -> dict[tuple[ServedModel, ...], list[tuple[int, int]]]:
    """The sentences of all texts by their way: those of a list may be of different languages."""
    found: dict[tuple[ServedModel, ...], list[tuple[int, int]]] = {}
    for t, source in enumerate(sources):
        places = [(t, s) for s in _numbers(source)]
        if source.way and places:
            found.setdefault(tuple(source.way), []).extend(places)
    return found


def _filled(
    source: Source, translations: Sequence[Translation], query: Query
) -> tuple[str, list[str]]:
    """The best translation of a text, and different further ones."""
    texts: list[str] = []
    for n in range(1 + query.alternatives):
        # A sentence that has fewer stays as it is in the last of them.
        hypotheses = [each.hypotheses[min(n, len(each.hypotheses) - 1)] for each in translations]
        text = source.passage.filled([hypothesis.text or "" for hypothesis in hypotheses])
        if text not in texts:
            texts.append(text)
    return texts[0], texts[1:]
