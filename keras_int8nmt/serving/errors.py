"""What is wrong with how a service was set up, and what it refuses a client."""

from __future__ import annotations

from collections.abc import Mapping

from keras_int8nmt.errors import KerasInt8nmtError


class ServingError(KerasInt8nmtError, ValueError):
    """A service can't be set up as it was asked for; the message says why."""


class RefusalError(KerasInt8nmtError, ValueError):
    """A request that is not answered; its client gets the reason as JSON.

    Args:
        status: Of HTTP, such as 400.
        reason: One sentence. Of the request stands in it what was checked, and what is `shown`.
        headers: Further ones of the answer.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


def shown(word: str) -> str:
    """A word of a request as a reason may show it: short, and of ASCII's letters."""
    return ascii(word if len(word) <= 20 else word[:20] + "...")
