"""Logs: a JSON object a line on stderr, never a text, a key or an address of a client."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("keras_int8nmt.serving")
# Of the servers; what they say of requests is left out.
_OTHERS = ("uvicorn", "uvicorn.error", "asyncio", "py.warnings")


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": os.getpid(),
        }
        if record.name == LOGGER.name:
            entry |= {"event": record.msg, **getattr(record, "fields", {})}
        elif record.name == "py.warnings":
            # A warning may name a text.
            entry |= {"event": "warning"}
        else:
            entry |= {"event": "server", "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            # Where it was and no message: that may hold a text.
            frames = traceback.extract_tb(record.exc_info[2])
            entry |= {
                "error": record.exc_info[0].__name__,
                "where": [f"{frame.filename}:{frame.lineno}" for frame in frames[-8:]],
            }
        return json.dumps(entry)


def say(event: str, level: int = logging.INFO, *, error: bool = False, **fields: Any) -> None:
    """Writes a line.

    Args:
        event: What happened, in a word.
        level: Of `logging`.
        error: Whether an exception that is being handled is told of.
        **fields: JSON values, none of which a client has sent.
    """
    if not LOGGER.isEnabledFor(level):
        return
    # Not `log`, which looks for the line of code that it was called from.
    of_error = sys.exc_info() if error else None
    extra = {"fields": fields}
    LOGGER.handle(LOGGER.makeRecord(LOGGER.name, level, "", 0, event, (), of_error, extra=extra))


def start_logs() -> None:
    """Sends what the service and its server say to stderr, in lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in (LOGGER.name, *_OTHERS):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if name == LOGGER.name else logging.WARNING)
    logging.captureWarnings(True)
