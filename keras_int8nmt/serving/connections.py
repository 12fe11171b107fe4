"""Bounds the connections of a server: one that was not used for longest makes room for a new one.

Each takes memory, whether somebody uses it or not, and uvicorn takes any number of them.
"""

from __future__ import annotations

import asyncio
import select
from collections import OrderedDict
from contextlib import suppress
from typing import Any

# In the state of a request's scope: it came by a connection too many.
CROWDED = "crowded"
# Seconds: a request may be on its way by one that was used later.
_LEAST_UNUSED = 1.0
# Descriptors that are no connections: files, pipes, sockets to listen at.
_OTHER_DESCRIPTORS = 64


def bounded_protocol(most: int) -> type[asyncio.Protocol]:
    """uvicorn's protocol for HTTP, which keeps about so many connections.

    For one more, the one is closed that was not used for longest, and for a second at least: by
    which no request is answered, nor came to the end of its head. Where there is none, requests to
    translate by the new one are refused.

    Args:
        most: Connections. Fewer where the process may not have as many descriptors.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    most = _within_descriptors(most)
    # Since when each is unused, those first that are for longest. Of one that is used again it is
    # told when it comes to the front.
    unused: OrderedDict[Any, float] = OrderedDict()

    class Bounded(AutoHTTPProtocol):
        app_state: dict[str, Any]

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            if len(self.connections) > most and not _closes_one(unused, self.loop.time()):
                self.app_state = {**self.app_state, CROWDED: True}
            unused[self] = self.loop.time()

        def connection_lost(self, exc: Exception | None) -> None:
            unused.pop(self, None)
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            unused.pop(self, None)
            if not self.transport.is_closing():
                unused[self] = self.loop.time()

    return Bounded


def _closes_one(unused: OrderedDict[Any, float], now: float) -> bool:
    while unused:
        connection, since = next(iter(unused.items()))
        if now - since < _LEAST_UNUSED:
            return False
        del unused[connection]
        if connection.cycle is not None and not connection.cycle.response_complete:
            continue
        if _has_unread(connection.transport):
            # The loop comes to it later than to new connections. It may be half a head, though.
            unused[connection] = now
            continue
        # As at the server's own end.
        connection.shutdown()
        return True
    return False


def _has_unread(transport: Any) -> bool:
    """Whether something has come that is not read yet."""
    socket = transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0 or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _within_descriptors(most: int) -> int:
    """As many connections as the process may have descriptors for, which are made more if allowed.

    One that has none left would close new connections without a word.
    """
    try:
        import resource
    except ImportError:
        return most
    wanted = most + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
        return max(1, min(most, soft - _OTHER_DESCRIPTORS))
    return most
