"""What a service is told: limits, keys, and who may ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from keras_int8nmt._arguments import MOST_INT32
from keras_int8nmt._untrusted import read_bytes
from keras_int8nmt.serving.errors import ServingError

_MOST_KEY_FILE = 1 << 20
_SHORTEST_KEY = 16


def _limit(default: int, help: str, *, least: int = 1, most: int = MOST_INT32) -> Any:
    return field(default=default, metadata={"help": help, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """What a service allows; a request beyond a limit is refused with the reason.

    Attributes:
        body_bytes: Bytes of a request's body.
        file_bytes: Bytes of a file to translate.
        files: Files that a process translates at a time, each of which is in memory as a whole.
        texts: Texts of one request.
        characters: Characters of all texts of a request.
        sentences: Sentences of a request.
        alternatives: Further translations of a text that a request may ask for.
        queue: Sentences of all requests that are accepted and not finished; a request that would
            exceed them is told when to come again.
        waiting_bytes: Of all requests together that have come, whole or in part, and are not over,
            without files; a request that would exceed them is told to come again.
        seconds: For which a request is worked at, or some 256 sentences of a file.
        body_seconds: In which a request's body must have come.
        connections: Of a process at a time; a further one closes the one that was not used for
            longest; where all are used, a request by it is refused.
        idle_seconds: For which a connection is kept that nobody uses. Longer than a load balancer
            keeps its own (60 s is common), so that it is not closed as a request is on its way.
        file_seconds: After which a translated file is no longer kept.
        rate: Requests a minute of one API key, or of one address where there are no keys; 0: any
            number. Each worker counts those that it gets.
        keys: Requests a minute by API key, 0 for any number; without keys everybody may ask.
        origins: Web pages of other servers that may ask (CORS), such as "https://example.org".
        pivots: Languages through which is translated where no model goes all the way.
        file_folder: Where translated files lie until they are fetched; None: a new folder. Workers
            share it.

    Raises:
        ServingError: for a number out of range.
    """

    body_bytes: int = _limit(1 << 20, "bytes of a request")
    file_bytes: int = _limit(8 << 20, "bytes of a file")
    files: int = _limit(8, "files that a worker translates at a time")
    texts: int = _limit(512, "texts of a request")
    characters: int = _limit(100_000, "characters of a request")
    sentences: int = _limit(2_000, "sentences of a request")
    alternatives: int = _limit(3, "alternatives of a text", least=0, most=31)
    queue: int = _limit(4_096, "sentences that are accepted and not finished")
    waiting_bytes: int = _limit(64 << 20, "bytes of all requests that are not over")
    seconds: int = _limit(120, "seconds for a request", most=86_400)
    body_seconds: int = _limit(20, "seconds in which the body of a request must come", most=86_400)
    connections: int = _limit(8_192, "connections of a worker at a time")
    idle_seconds: int = _limit(75, "seconds for which an unused connection is kept", most=86_400)
    file_seconds: int = _limit(600, "seconds for which a translated file is kept", most=86_400)
    rate: int = _limit(0, "requests a minute of one key or address; 0: any number", least=0)
    keys: Mapping[str, int] = field(default_factory=dict, repr=False)
    origins: tuple[str, ...] = ()
    pivots: tuple[str, ...] = ()
    file_folder: str | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            if not one.metadata:
                continue
            value, least, most = getattr(self, one.name), *self.bounds(one.name)
            if type(value) is not int or not least <= value <= most:
                raise ServingError(
                    f"`{one.name}` must be a whole number from {least} to {most}; received "
                    f"{value!r}."
                )

    @classmethod
    def limits(cls) -> dict[str, tuple[int, str]]:
        """Default and description of each limit, by its name."""
        return {
            one.name: (one.default, one.metadata["help"])  # type: ignore[misc]
            for one in fields(cls)
            if one.metadata
        }

    @classmethod
    def bounds(cls, name: str) -> tuple[int, int]:
        """The least and the most of a limit."""
        known = cls.__dataclass_fields__[name].metadata
        return known["least"], known["most"]


def read_keys(path: str | os.PathLike[str]) -> dict[str, int]:
    """API keys of a file: one a line, and behind it its requests a minute, if it has a limit.

    Empty lines, and those that begin with `#`, are passed over.

    Raises:
        ServingError: for a file that can't be read or is none of keys; it names the line, not the
            key.
    """
    name = repr(str(path))
    try:
        text = read_bytes(Path(path), _MOST_KEY_FILE, ServingError).decode("ascii")
    except UnicodeDecodeError as error:
        raise ServingError(f"{name} holds keys of other characters than ASCII's.") from error
    keys: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        key, *rest = words
        if len(rest) > 1 or not all(x.isdigit() and len(x) < 10 for x in rest):
            raise ServingError(f"{name}, line {number}: expected a key and a number, or a key.")
        if len(key) < _SHORTEST_KEY:
            raise ServingError(
                f"{name}, line {number}: the key has {len(key)} characters; at least "
                f"{_SHORTEST_KEY} are asked for."
            )
        if key in keys:
            raise ServingError(f"{name}, line {number}: the key stands there twice.")
        keys[key] = int(rest[0]) if rest else 0
    if not keys:
        raise ServingError(f"{name} holds no key.")
    return keys
