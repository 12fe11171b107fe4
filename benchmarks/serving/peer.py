"""CTranslate2 behind the same frame, in a few lines: `python peer.py FOLDER PORT LENGTH THREADS`.

Waiting sentences are translated together, up to 32 of any requests, by as many `translate_batch` at
a time as there are threads. LENGTH 0: sentences end where the model ends them.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import threading
from typing import Any

import ctranslate2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.tokenizers.marian import MarianTokenizer

_BATCH = 32


def search_of(length: int) -> dict[str, Any]:
    """Arguments of `translate_batch`; `length` as on the command line."""
    limits = {"min_decoding_length": length - 1, "max_decoding_length": length - 1}
    return {
        "beam_size": 4,
        "max_batch_size": _BATCH,
        "batch_type": "examples",
        "length_penalty": 1.0,
        # With the end token, its length penalty counts as ours does.
        "return_end_token": True,
        **(limits if length else {"max_decoding_length": 255}),
    }


def open_translator(folder: str, threads: int) -> Any:
    return ctranslate2.Translator(
        folder, compute_type="int8", inter_threads=threads, intra_threads=1
    )


def make_app(folder: str, length: int, threads: int) -> Starlette:
    tokenizer, search = MarianTokenizer(FOLDER), search_of(length)
    translator = open_translator(folder, threads)
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        while True:
            batch = [waiting.get()]
            while len(batch) < _BATCH:
                try:
                    batch.append(waiting.get_nowait())
                except queue.Empty:
                    break
            sources = [[str(i) for i in tokenizer.encode(text)] for text, _ in batch]
            found = translator.translate_batch(sources, **search)
            for (_, tell), result in zip(batch, found, strict=True):
                tell(tokenizer.decode([int(token) for token in result.hypotheses[0]]))

    for _ in range(threads):
        threading.Thread(target=work, daemon=True).start()

    async def translate(request: Request) -> Response:
        texts = json.loads(await request.body())["q"]
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in texts]
        for text, future in zip(texts, futures, strict=True):
            waiting.put((text, lambda t, f=future: loop.call_soon_threadsafe(f.set_result, t)))
        return JSONResponse({"translatedText": await asyncio.gather(*futures)})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[Route("/translate", translate, methods=["POST"]), Route("/health", health)]
    )


if __name__ == "__main__":
    folder, port, length, threads = sys.argv[1], *map(int, sys.argv[2:])
    uvicorn.run(make_app(folder, length, threads), port=port, log_level="error", access_log=False)
