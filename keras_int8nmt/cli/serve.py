"""`keras-int8nmt serve`: a service with one model or several, by LibreTranslate's interface."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from keras_int8nmt.cli.opening import check_native
from keras_int8nmt.cli.options import add_search, whole
from keras_int8nmt.runtime.batching import MOST_STREAMS
from keras_int8nmt.serving.server import serve
from keras_int8nmt.serving.settings import ServingSettings, read_keys

_MOST_WORKERS = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="en-de=FOLDER, a folder with a model spec and its two languages; only the folder "
        "where its card has the entry languages. Of the same languages there may be one model of "
        "each precision; the first is taken by itself",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port",
        type=partial(whole, 0, 65_535),
        default=5000,
        help="0: any that is free; default: %(default)s",
    )
    parser.add_argument(
        "--workers",
        type=partial(whole, 1, _MOST_WORKERS),
        default=1,
        help="processes, which share the weights; default: %(default)s",
    )
    parser.add_argument(
        "--threads",
        type=partial(whole, 1, MOST_STREAMS),
        help="decoder threads of each worker; default: the cores, shared by the workers",
    )
    parser.add_argument(
        "--pivot",
        dest="pivots",
        action="append",
        default=[],
        metavar="LANGUAGE",
        help="translate through this language where no model goes all the way; may be repeated",
    )
    parser.add_argument(
        "--api-keys", metavar="FILE", help="a key a line, and behind it its requests a minute"
    )
    parser.add_argument(
        "--cors",
        dest="origins",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="web pages of this server may ask, too; may be repeated; default: none",
    )
    limits = parser.add_argument_group("limits")
    for name, (default, text) in ServingSettings.limits().items():
        limits.add_argument(
            f"--max-{name.replace('_', '-')}" if name != "rate" else "--rate",
            dest=name,
            type=partial(whole, *ServingSettings.bounds(name)),
            default=default,
            metavar="N",
            help=f"{text}; default: %(default)s",
        )
    add_search(parser)


def run(
    models: list[str],
    host: str,
    port: int,
    workers: int,
    threads: int | None,
    pivots: list[str],
    api_keys: str | None,
    origins: list[str],
    streams: int | str,
    **options: Any,
) -> dict[str, Any]:
    """Serves until it is told to stop."""
    check_native()
    limits = {name: options.pop(name) for name in ServingSettings.limits()}
    settings = ServingSettings(
        keys={} if api_keys is None else read_keys(api_keys),
        origins=tuple(origins),
        pivots=tuple(pivots),
        **limits,
    )
    if threads is None and isinstance(streams, int):
        threads = streams
    serve(models, settings, host=host, port=port, workers=workers, threads=threads, **options)
    return {"models": models}
