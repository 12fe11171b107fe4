"""Who may ask: API keys, requests a minute, and sentences and bytes that are accepted at a time."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from keras_int8nmt.serving.errors import RefusalError
from keras_int8nmt.serving.settings import ServingSettings

# Addresses that are remembered, those that asked last.
_MOST_REMEMBERED = 50_000
# Over how many seconds the speed is looked at that says when to come again.
_SPAN = 10.0
_LONGEST_WAIT = 60


class Access:
    """Checks keys and counts requests. Each minute's share comes back little by little.

    Args:
        settings: Of the service.
        now: Seconds of a clock.
    """

    def __init__(
        self, settings: ServingSettings, now: Callable[[], float] = time.monotonic
    ) -> None:
        # Kept and compared as digests: how long a comparison takes tells nothing of a key.
        self._keys = {_digest(key): rate for key, rate in settings.keys.items()}
        self._rate, self._now = settings.rate, now
        # What is left of a minute's requests, and when that was.
        self._left: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    @property
    def key_required(self) -> bool:
        return bool(self._keys)

    def check(self, key: str, address: str) -> None:
        """Raises a RefusalError for a key that is none, or where there were too many requests.

        Args:
            key: What the client sent; empty: none.
            address: Of the client.
        """
        rate = self._rate
        if self._keys:
            who = _digest(key)
            if who not in self._keys:
                raise RefusalError(403, "An API key of this service is needed, as `api_key`.")
            rate = self._keys[who] or rate
        elif rate:
            who = _digest(address)
        if rate:
            self._take(who, rate)

    def _take(self, who: bytes, rate: int) -> None:
        now = self._now()
        left, since = self._left.pop(who, (float(rate), now))
        left = min(float(rate), left + (now - since) * rate / 60)
        self._left[who] = (max(0.0, left - 1), now) if left >= 1 else (left, now)
        if len(self._left) > _MOST_REMEMBERED:
            self._left.popitem(last=False)
        if left < 1:
            wait = max(1, math.ceil((1 - left) * 60 / rate))
            raise RefusalError(
                429, f"More than {rate} requests a minute.", {"Retry-After": str(wait)}
            )


class Gate:
    """Counts the sentences that are accepted and not finished. Of one thread, that of the loop.

    Args:
        most: Of them.
        now: Seconds of a clock.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most, self._now = most, now
        self.inside = 0
        self._finished, self._since = 0, now()
        self._speed = 0.0

    def has_room(self, sentences: int) -> bool:
        """Whether so many more may come; a request alone always may."""
        return self.inside == 0 or self.inside + sentences <= self._most

    def enter(self, sentences: int) -> None:
        """Counts sentences that begin.

        Raises:
            RefusalError: where there are too many; it tells in how many seconds to come again.
        """
        if not self.has_room(sentences):
            raise RefusalError(
                429,
                f"{self.inside} sentences are waiting, {self._most} may.",
                {"Retry-After": str(self.wait())},
            )
        self.inside += sentences

    def leave(self, sentences: int) -> None:
        """Counts sentences that are finished, or dropped."""
        self.inside -= sentences
        self._finished += sentences
        now = self._now()
        if now - self._since >= _SPAN:
            self._speed = self._finished / (now - self._since)
            self._finished, self._since = 0, now

    def wait(self) -> int:
        """Whole seconds in which half of what is inside should be finished."""
        if not self._speed:
            return 1
        return min(_LONGEST_WAIT, max(1, math.ceil(self.inside / 2 / self._speed)))


class Room:
    """Bounds the bytes of all requests together. Of one thread, that of the loop.

    Args:
        most: Bytes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0


class Share:
    """The bytes of one request, from when they come until it is over."""

    def __init__(self, room: Room) -> None:
        self._room, self._taken = room, 0

    def take(self, count: int) -> None:
        """Counts bytes that have come.

        Raises:
            RefusalError: where all requests together have too many; one alone may have any number.
        """
        taken = self._room.taken + count
        if taken > self._room.most and taken > self._taken + count:
            raise RefusalError(
                429,
                f"{self._room.taken} bytes of requests are waiting, {self._room.most} may.",
                {"Retry-After": "1"},
            )
        self._room.taken = taken
        self._taken += count

    def give_back(self) -> None:
        """At the end of the request, whatever that is."""
        self._room.taken -= self._taken
        self._taken = 0


def _digest(word: str) -> bytes:
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
