"""Requests of many clients share one translator: in turns, with the same answers."""

from __future__ import annotations

import asyncio

import pytest

from keras_int8nmt import load_translator
from keras_int8nmt.serving.scheduler import PIECE, Scheduler
from keras_int8nmt.translation.results import Translation

SENTENCES = [f"My dog likes the old red shoes {'very ' * n}much." for n in range(12)]


@pytest.fixture
def translator(folders):
    options = {"beam_size": 1, "max_length": 8, "streams": 1, "batch_size": 4}
    with load_translator(folders / "int8", **options) as loaded:
        yield loaded


class Client:
    """Waits for the outcomes of a job."""

    def __init__(self, count, order=None):
        self.outcomes = [None] * count
        self.order = [] if order is None else order
        self.done, self.left = asyncio.Event(), count

    def told(self, places, outcomes):
        for place, outcome in zip(places, outcomes, strict=True):
            assert self.outcomes[place] is None
            self.outcomes[place] = outcome
        self.order.append((self, list(places)))
        self.left -= len(places)
        if not self.left:
            self.done.set()

    async def wait(self):
        await asyncio.wait_for(self.done.wait(), 60)

    async def texts(self):
        await self.wait()
        return [outcome.text for outcome in self.outcomes]


def in_a_loop(translator, test):
    """Runs `test` with a scheduler, which it then closes."""

    async def run():
        scheduler = Scheduler(translator)
        await test(scheduler)
        await scheduler.close()
        assert scheduler.begun == 0

    asyncio.run(run())


def test_many_clients_get_what_the_translator_gives_each(translator):
    expected = dict(zip(SENTENCES, translator(SENTENCES), strict=True))

    async def test(scheduler):
        async def ask(first):
            for n in range(1, 12):
                sentences = [SENTENCES[(first + i) % 12] for i in range(n)]
                client = Client(n)
                scheduler.submit(sentences, client.told, piece=1 + n % 5)
                assert await client.texts() == [expected[each] for each in sentences]

        await asyncio.gather(*map(ask, range(6)))

    in_a_loop(translator, test)


def test_a_short_request_does_not_wait_for_a_long_one(translator):
    order = []

    async def test(scheduler):
        long, short = Client(2000, order), Client(1, order)
        scheduler.submit(SENTENCES[:1] * 2000, long.told)
        scheduler.submit(SENTENCES[:1], short.told)
        await long.wait()
        assert short.done.is_set()
        clients = [client for client, _ in order]
        # Those few that the streams had already, and one more piece.
        assert clients.index(short) < 10 * PIECE
        assert len(clients) > 200

    in_a_loop(translator, test)


def test_a_piece_of_one_tells_each_sentence_by_itself(translator):
    async def test(scheduler):
        client = Client(12)
        scheduler.submit(SENTENCES, client.told, piece=1)
        await client.texts()
        assert sorted(client.order, key=lambda each: each[1]) == [(client, [i]) for i in range(12)]

    in_a_loop(translator, test)


def test_nothing_is_told_before_submit_returns_though_there_be_nothing_to_translate(translator):
    async def test(scheduler):
        client = Client(2000)
        scheduler.submit([" "] * 2000, client.told)
        assert not client.order
        assert await client.texts() == [""] * 2000

    in_a_loop(translator, test)


def test_nothing_is_told_of_what_was_cancelled_and_others_go_on(translator):
    async def test(scheduler):
        dropped, other = Client(3000), Client(1)
        job = scheduler.submit(SENTENCES[:1] * 3000, dropped.told)
        while not dropped.order:
            await asyncio.sleep(0.001)
        job.cancel()
        told = len(dropped.order)
        assert scheduler.begun == 0
        scheduler.submit(SENTENCES[:1], other.told)
        assert await other.texts() == translator(SENTENCES[:1])
        assert len(dropped.order) == told
        assert not dropped.done.is_set()

    in_a_loop(translator, test)


def test_a_sentence_that_fails_takes_no_other_request_with_it(translator, monkeypatch):
    tokenizer = translator.tokenizer
    encode = tokenizer.encode

    def failing(text):
        if text == "BROKEN":
            raise KeyError(text)
        return encode(text)

    monkeypatch.setattr(tokenizer, "encode", failing)

    async def test(scheduler):
        broken, good = Client(2), Client(1)
        scheduler.submit(["BROKEN", SENTENCES[0]], broken.told)
        scheduler.submit(SENTENCES[:1], good.told)
        await good.wait()
        await broken.wait()
        assert isinstance(broken.outcomes[0], str)
        assert isinstance(broken.outcomes[1], Translation)
        assert isinstance(good.outcomes[0], Translation)

    in_a_loop(translator, test)


def test_closing_finishes_what_was_submitted(translator):
    async def test(scheduler):
        client = Client(500)
        scheduler.submit(SENTENCES[:1] * 500, client.told)
        await scheduler.close()
        assert client.done.is_set()
        with pytest.raises(RuntimeError, match="closed"):
            scheduler.submit(SENTENCES, client.told)

    in_a_loop(translator, test)


def test_an_engine_that_is_closed_meanwhile_is_an_error_of_each_sentence(translator):
    async def test(scheduler):
        client = Client(2000)
        scheduler.submit(SENTENCES[:1] * 2000, client.told)
        translator.native_engine.decoder().close()
        await client.wait()
        kinds = {type(outcome) for outcome in client.outcomes}
        assert kinds <= {Translation} | {kind for kind in kinds if issubclass(kind, RuntimeError)}

    in_a_loop(translator, test)


def test_what_a_stream_has_accepted_is_dropped_as_it_is_closed(folders):
    from keras_int8nmt.serving import ServingSettings
    from keras_int8nmt.serving.catalogue import Catalogue, load_model
    from keras_int8nmt.serving.metrics import Metrics
    from keras_int8nmt.serving.queries import Query
    from keras_int8nmt.serving.service import Service

    model = load_model(str(folders / "int8"), {"beam_size": 1, "max_length": 8, "streams": 1})
    service = Service(Catalogue([model]), ServingSettings(), Metrics())

    async def close_early():
        service.start()
        stream = service.stream(Query(["It rains. " * 500], False, "en", "de"))
        await anext(stream)
        assert service.gate.inside > 0
        await stream.aclose()
        assert service.gate.inside == 0
        await service.close()

    asyncio.run(close_early())


def test_a_scheduler_that_fails_is_told_at_once_and_by_the_health(folders, monkeypatch):
    from starlette.testclient import TestClient

    from keras_int8nmt.serving import ServingSettings, create_app

    app = create_app([str(folders / "int8")], ServingSettings(), streams=1)
    with TestClient(app) as client:
        assert client.get("/health").status_code == 200
        monkeypatch.setattr(Scheduler, "_take", lambda self: 1 / 0)
        fields = {"q": "It rains.", "source": "en", "target": "de"}
        response = client.post("/translate", json=fields)
        assert (response.status_code, response.json()) == (
            503,
            {"error": "The service has failed."},
        )
        assert "keras_int8nmt_queue_sentences 0.0" in client.get("/metrics").text
        response = client.get("/health")
        assert response.status_code == 503
        assert "has failed" in response.json()["error"]
        # The next one need not wait.
        assert "has failed" in client.post("/translate", json=fields).json()["error"]
