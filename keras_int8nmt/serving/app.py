"""The ASGI application of a service: its addresses, and what each answers."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keras_int8nmt.serving.access import Access, Room, Share
from keras_int8nmt.serving.bodies import read_fields, read_file
from keras_int8nmt.serving.catalogue import Catalogue
from keras_int8nmt.serving.connections import CROWDED
from keras_int8nmt.serving.downloads import FILE_FORMATS, Downloads, suffix_of
from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.languages import Detected, language_name
from keras_int8nmt.serving.logs import say
from keras_int8nmt.serving.metrics import Metrics
from keras_int8nmt.serving.observing import Observed
from keras_int8nmt.serving.openapi import openapi
from keras_int8nmt.serving.pages import page_file
from keras_int8nmt.serving.queries import AUTO, Query, checked_file, checked_text, key_of
from keras_int8nmt.serving.service import Answer, Service
from keras_int8nmt.serving.settings import ServingSettings

# A client that has gone gets no answer; the logs show this status.
_GONE = 499
# Seconds after which it is looked whether the client is still there: most are answered by then, and
# a task that looks costs as much as reading a request.
_UNWATCHED = 0.1

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def make_app(catalogue: Catalogue, settings: ServingSettings) -> Starlette:
    """The application of models that are loaded; see `create_app`."""
    metrics = Metrics()
    service = Service(catalogue, settings, metrics)
    folder, remove = _file_folder(settings)
    downloads = Downloads(folder, settings.file_bytes, settings.file_seconds)
    endpoints = Endpoints(service, settings, downloads)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.start()
        say("started", models=[f"{m.pair} {m.precision}" for m in catalogue.models])
        yield
        # The server has answered all that it took by now.
        await service.close()
        remove()
        say("stopped")

    routes = endpoints.routes()
    middleware = [Middleware(Observed, metrics=metrics, paths=[r.path for r in routes])]
    if settings.origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
        middleware.append(cors)
    return Starlette(
        routes=routes,
        middleware=middleware,
        lifespan=lifespan,
        exception_handlers={
            RefusalError: _refused,
            HTTPException: _not_served,
            Exception: _failed,
        },
    )


def _file_folder(settings: ServingSettings) -> tuple[str, Callable[[], None]]:
    """Where translated files lie, and what removes it where it is this application's own."""
    if settings.file_folder is not None:
        return settings.file_folder, lambda: None
    folder, maker = tempfile.mkdtemp(prefix="keras-int8nmt-files-"), os.getpid()

    def remove() -> None:
        # Workers that were forked after it was made share it; each of them ends by itself.
        if os.getpid() == maker:
            shutil.rmtree(folder, ignore_errors=True)

    # The parent of such workers does not serve itself.
    atexit.register(remove)
    return folder, remove


class Endpoints:
    """What each address answers.

    Args:
        service: Translates.
        settings: Limits, and who may ask.
        downloads: Keeps translated files.
    """

    def __init__(self, service: Service, settings: ServingSettings, downloads: Downloads) -> None:
        self._service, self._settings, self._downloads = service, settings, downloads
        self._access = Access(settings)
        self._room = Room(settings.waiting_bytes)
        # That are being read and translated.
        self._files = 0
        self._schema = openapi(service.catalogue, settings)

    def routes(self) -> list[Route]:
        posts: dict[str, Handler] = {
            "/translate": self.translate,
            "/translate/stream": self.stream,
            "/translate_file": self.translate_file,
            "/detect": self.detect,
            # As some of LibreTranslate's clients ask, such as Argos Translate's.
            "/languages": self.languages,
        }
        gets: dict[str, Handler] = {
            "/languages": self.languages,
            "/frontend/settings": self.frontend_settings,
            "/health": self.health,
            "/ready": self.ready,
            "/metrics": self.metrics,
            "/openapi.json": self.openapi,
            "/download_file/{token}/{name}": self.download_file,
            "/": self.page,
            "/page/{name}": self.page,
        }
        found = []
        for path in {**posts, **gets}:
            methods = [name for name, of in (("POST", posts), ("GET", gets)) if path in of]
            found.append(
                Route(path, _Endpoint(posts.get(path) or gets[path], self._room), methods=methods)
            )
        return found

    # ---- what translates

    async def translate(self, request: Request) -> Response:
        query = await self._query(request)
        answer = await _unless_gone(request, self._service.translate(query), self._service.metrics)
        if answer is None:
            return Response(status_code=_GONE)
        _note(request, answer)
        return _json(_content(query, answer))

    async def stream(self, request: Request) -> Response:
        query = await self._query(request)
        lines = self._service.stream(query)
        # What is refused is refused before the first line.
        first = await _unless_gone(request, anext(lines), self._service.metrics)
        if first is None:
            await lines.aclose()
            return Response(status_code=_GONE)

        async def content() -> AsyncGenerator[bytes]:
            try:
                found: Any = first
                while True:
                    yield _line(query, found)
                    if isinstance(found, Answer):
                        _note(request, found)
                        return
                    found = await anext(lines)
            except RefusalError as refusal:
                yield json.dumps({"error": refusal.reason}).encode() + b"\n"

        return _Lines(content(), lines, self._settings.seconds)

    async def translate_file(self, request: Request) -> Response:
        if self._files == self._settings.files:
            raise RefusalError(
                429,
                f"{self._files} files are being translated; no more are at a time.",
                {"Retry-After": str(self._service.gate.wait())},
            )
        self._files += 1
        try:
            return await self._translated_file(request)
        finally:
            self._files -= 1

    async def _translated_file(self, request: Request) -> Response:
        fields, name, content = await read_file(request, self._settings)
        self._check(request, fields)
        suffix = suffix_of(name)
        try:
            # A mark of the order of bytes is no character of the text.
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RefusalError(400, "The file is not UTF-8.") from error
        query = checked_file(fields, text, FILE_FORMATS[suffix])
        answer = await _unless_gone(
            request, self._service.translate_file(query), self._service.metrics
        )
        if answer is None:
            return Response(status_code=_GONE)
        _note(request, answer)
        place = self._downloads.keep(answer.texts[0].encode(), suffix)
        return _json({"translatedFileUrl": f"{request.base_url}download_file/{place}"})

    async def detect(self, request: Request) -> Response:
        fields = await self._fields(request)
        self._check(request, fields)
        found = self._service.detect(checked_text(fields, self._settings))
        return _json([_detected(each) for each in found if each.confidence > 0])

    async def _fields(self, request: Request) -> dict[str, Any]:
        share: Share = request.state.share
        return await read_fields(request, self._settings, share.take)

    async def _query(self, request: Request) -> Query:
        fields = await self._fields(request)
        self._check(request, fields)
        return Query.checked(fields, self._settings)

    def _check(self, request: Request, fields: dict[str, Any]) -> None:
        address = request.client.host if request.client is not None else ""
        self._access.check(key_of(fields, request.headers.get("authorization", "")), address)

    # ---- what tells of the service

    async def languages(self, _: Request) -> Response:
        return _json(self._service.catalogue.languages())

    async def frontend_settings(self, _: Request) -> Response:
        catalogue, settings = self._service.catalogue, self._settings
        first = catalogue.models[0].pair
        return _json(
            {
                "apiKeys": self._access.key_required,
                "keyRequired": self._access.key_required,
                "charLimit": settings.characters,
                "frontendTimeout": 300,
                "filesTranslation": True,
                "supportedFilesFormat": list(FILE_FORMATS),
                "suggestions": False,
                "alternatives": settings.alternatives,
                "language": {
                    "source": {"code": first.source, "name": language_name(first.source)},
                    "target": {"code": first.target, "name": language_name(first.target)},
                },
                "models": [
                    {
                        "source": model.pair.source,
                        "target": model.pair.target,
                        "precision": model.precision,
                    }
                    for model in catalogue.models
                ],
            }
        )

    async def health(self, _: Request) -> Response:
        if not self._service.healthy:
            raise RefusalError(
                503, "What hands sentences to a model has failed; the logs say where."
            )
        return _json({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        if self._service.closing:
            raise RefusalError(503, "The service is closing.", {"Retry-After": "1"})
        return _json({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        self._service.observe()
        metrics = self._service.metrics
        return Response(metrics.text(), headers={"Content-Type": metrics.content_type})

    async def openapi(self, _: Request) -> Response:
        return _json(self._schema)

    async def download_file(self, request: Request) -> Response:
        content, kind = self._downloads.read(
            request.path_params["token"], request.path_params["name"]
        )
        # A translated page of a stranger's is not shown in the name of this service.
        headers = {"Content-Disposition": "attachment", "Content-Type": kind}
        return Response(content, headers=headers)

    async def page(self, request: Request) -> Response:
        content, headers = page_file(request.path_params.get("name", "index.html"))
        return Response(content, headers=headers)


class _Endpoint:
    """A handler as an ASGI application: what it raises is the middleware's alone to answer, where
    Starlette would put a second layer for that around a function, and around each thing it sends.

    Args:
        handler: Makes the answer.
        room: Where requests have their share until they are answered.
    """

    def __init__(self, handler: Handler, room: Room) -> None:
        self._handler, self._room = handler, room

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # What the service tells of itself it tells always: whoever looks after it would end it.
        if CROWDED in scope["state"] and scope["method"] == "POST":
            raise RefusalError(
                503,
                "The service has as many connections as it may.",
                {"Retry-After": "1", "Connection": "close"},
            )
        share = scope["state"]["share"] = Share(self._room)
        try:
            response = await self._handler(Request(scope, receive, send))
            await response(scope, receive, send)
        finally:
            share.give_back()


# ---- answers


class _Lines(StreamingResponse):
    """JSON lines; a client that does not read them in time is left.

    Args:
        content: The lines.
        source: What they are made of; closed with them.
        seconds: For all of them.
    """

    def __init__(
        self, content: AsyncGenerator[bytes], source: AsyncGenerator[Any], seconds: float
    ) -> None:
        super().__init__(content, media_type="application/x-ndjson")
        self._content, self._source, self._seconds = content, source, seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            # The server closes a connection whose answer has no end.
            say("left", path=scope["path"])
        finally:
            await self._content.aclose()
            await self._source.aclose()


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(content, status, headers)


def _detected(found: Detected) -> dict[str, Any]:
    return {"confidence": found.confidence, "language": found.language}


def _content(query: Query, answer: Answer) -> dict[str, Any]:
    def shaped(each: list[T]) -> Any:
        return each if query.is_list else each[0]

    content: dict[str, Any] = {"translatedText": shaped(answer.texts)}
    if query.source == AUTO:
        content["detectedLanguage"] = shaped(
            [_detected(each) for each in answer.detected if each is not None]
        )
    if query.alternatives:
        content["alternatives"] = shaped(answer.alternatives)
    return content


def _line(query: Query, found: Any) -> bytes:
    if isinstance(found, Answer):
        content = {"done": True, **_content(query, found)}
    else:
        text, sentence, translation = found
        content = {"index": text, "sentence": sentence, "translatedText": translation.text}
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _note(request: Request, answer: Answer) -> None:
    """For the logs."""
    request.state.figures = {"sentences": answer.sentences, "tokens": answer.tokens}


async def _unless_gone(request: Request, work: Awaitable[T], metrics: Metrics) -> T | None:
    """What the work gives; None where the client goes before, which cancels it."""
    working, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert working is not None
    watching: asyncio.Task[None] | None = None
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        working.cancel()

    def begin() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    # The work stays in the request's own task: to begin a second one and wait for both costs more
    # than all that is done with a short request.
    timer = loop.call_later(_UNWATCHED, begin)
    try:
        return await work
    except asyncio.CancelledError:
        if not is_gone or working.uncancel():
            # Something else cancels the request, too.
            raise
        metrics.dropped()
        return None
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()


async def _refused(_: Request, error: RefusalError) -> Response:
    return _json({"error": error.reason}, error.status, error.headers)


async def _not_served(_: Request, error: HTTPException) -> Response:
    reasons = {
        404: "There is nothing at this address; /openapi.json lists what there is.",
        405: "This address does not take this method; see /openapi.json.",
    }
    reason = reasons.get(error.status_code, "The request can't be answered.")
    return _json({"error": reason}, error.status_code, dict(error.headers or {}))


async def _failed(_: Request, error: Exception) -> Response:
    try:
        raise error
    except Exception:
        say("failed", logging.ERROR, error=True)
    return _json({"error": "The service failed on this request; its logs say where."}, 500)
