"""The body of a request, read within bounds: JSON or a form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.settings import ServingSettings

_MOST_FIELDS = 1000
_NOT_WHOLE = "The body was not sent to its end."


async def read_fields(
    request: Request, settings: ServingSettings, came: Callable[[int], None]
) -> dict[str, Any]:
    """The fields of a body in JSON or in either form of HTML; of several of a name a list.

    Args:
        request: Whose body is read.
        settings: Limits.
        came: Told of the bytes of each part as it comes; may refuse.

    Raises:
        RefusalError: for a body that is too large, too late, or none of these.
    """
    kind = _kind(request)
    async with _InTime(settings.body_seconds):
        if kind == "multipart/form-data":
            parts = _parts(request, settings.body_bytes, came)
            return _fields(await _read_form(request, parts, settings, files=0))
        body = await _read_whole(request, settings.body_bytes, came)
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    if kind == "application/json" or (not kind and body[:1] == b"{"):
        return _json(body)
    raise RefusalError(415, "The body must be JSON or a form, and its Content-Type say which.")


async def read_file(
    request: Request, settings: ServingSettings
) -> tuple[dict[str, Any], str, bytes]:
    """The fields of a form with a file of the name `file`, the file's name, and its content.

    Raises:
        RefusalError: as `read_fields`, or where there is no file.
    """
    if _kind(request) != "multipart/form-data":
        raise RefusalError(415, "A file is sent as multipart/form-data.")
    # What is not the file's is little.
    async with _InTime(settings.body_seconds):
        parts = _parts(request, settings.file_bytes + (1 << 16), lambda _: None)
        form = await _read_form(request, parts, settings, files=1)
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise RefusalError(400, "`file` must be a file; there is none.")
        content = await file.read(settings.file_bytes + 1)
        if len(content) > settings.file_bytes:
            _too_large(settings.file_bytes)
        return _fields(form), file.filename or "", content
    finally:
        await form.close()


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_whole(request: Request, most: int, came: Callable[[int], None]) -> bytes:
    _check_length(request, most)
    parts: list[bytes] = []
    count, more = 0, True
    while more:
        # Mostly once: a short body comes with its head.
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise RefusalError(400, _NOT_WHOLE)
        part, more = message.get("body", b""), message.get("more_body", False)
        count += len(part)
        if count > most:
            _too_large(most)
        came(len(part))
        parts.append(part)
    return b"".join(parts)


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 18 or int(length) > most):
        _too_large(most)


async def _parts(request: Request, most: int, came: Callable[[int], None]) -> AsyncIterator[bytes]:
    _check_length(request, most)
    count = 0
    try:
        async for part in request.stream():
            count += len(part)
            if count > most:
                _too_large(most)
            came(len(part))
            yield part
    except ClientDisconnect as error:
        raise RefusalError(400, _NOT_WHOLE) from error


class _InTime:
    """Refuses a body that takes longer; a class since a generator takes as long as reading does.

    Args:
        seconds: For the block.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds, self._timeout = seconds, asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *of_error: Any) -> None:
        try:
            await self._timeout.__aexit__(*of_error)
        except TimeoutError as error:
            raise RefusalError(
                408, f"The body did not come within {self._seconds} seconds."
            ) from error


def _too_large(most: int) -> NoReturn:
    raise RefusalError(413, f"The body has more than {most} bytes.")


async def _read_form(
    request: Request, parts: AsyncIterator[bytes], settings: ServingSettings, files: int
) -> FormData:
    parser = MultiPartParser(
        request.headers,
        parts,
        max_files=files,
        max_fields=_MOST_FIELDS,
        max_part_size=settings.body_bytes,
    )
    try:
        return await parser.parse()
    except RefusalError:
        raise
    # What the parser does not expect of a head of a part, such as a charset that nobody knows.
    except (MultiPartException, FormParserError, KeyError, LookupError, ValueError) as error:
        raise RefusalError(400, "The body is no multipart/form-data that can be read.") from error


def _fields(form: FormData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            _put(found, name, value)
    return found


def _urlencoded(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        raise RefusalError(400, "The body is no form that can be read.") from error
    for name, value in pairs:
        _put(found, name, value)
    return found


def _put(found: dict[str, Any], name: str, value: str) -> None:
    if name not in found:
        found[name] = value
    elif isinstance(found[name], list):
        found[name].append(value)
    else:
        found[name] = [found[name], value]


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


# Made once: making one takes as long as reading a short body does.
_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RefusalError(400, "The body is no JSON that can be read.") from error
    if not isinstance(content, dict):
        raise RefusalError(400, "The body must be a JSON object.")
    return content
