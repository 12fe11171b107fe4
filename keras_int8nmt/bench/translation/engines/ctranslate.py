"""CTranslate2, set as its own pages on performance advise."""

from __future__ import annotations

import os
from typing import Any

import ctranslate2

from keras_int8nmt.bench.translation.cases import Job

_VARIABLES = ("CT2_USE_MKL", "CT2_PACKED_GEMM", "CT2_FORCE_CPU_ISA", "OMP_NUM_THREADS")


class CTranslate2:
    """A `ctranslate2.Translator` for each number of streams; they hold a copy of the weights each.

    Args:
        folder: A folder of `models.build`.
        cores: Not used; the number of threads is that of the job's streams.
        compute_type: "int8" or "float32"; it converts the weights when it loads them.
    """

    def __init__(self, folder: Any, cores: int, *, compute_type: str) -> None:
        self.folder, self.compute_type = folder / "ctranslate2", compute_type
        self._translators: dict[int, Any] = {}
        chosen = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
        self.settings = (
            f"{ctranslate2.__version__}, compute_type={compute_type!r}, inter_threads=streams, "
            "intra_threads=1, max_batch_size=batch, batch_type='examples', length_penalty=1, "
            f"return_scores=False, {', '.join(chosen) or 'back end by default'}"
        )

    def prepare(self, job: Job) -> tuple[Any, list[list[str]], dict[str, Any]]:
        if job.streams not in self._translators:
            self._translators[job.streams] = ctranslate2.Translator(
                str(self.folder),
                device="cpu",
                compute_type=self.compute_type,
                inter_threads=job.streams,
                intra_threads=1,
            )
        sources = [[str(i) for i in sentence] for sentence in job.sentences]
        # Its lengths leave the end token out. Where ours is the least length too, both compute as
        # many steps: its last token is any, ours the end token.
        search = {
            "beam_size": job.beam_size,
            "max_batch_size": job.batch_size,
            "batch_type": "examples",
            "length_penalty": 1.0,
            "min_decoding_length": job.min_length,
            "max_decoding_length": job.max_length,
            "max_input_length": 0,
            # With the end token, its length penalty counts as ours does.
            "return_end_token": True,
        }
        return self._translators[job.streams], sources, search

    def run(self, prepared: tuple[Any, list[list[str]], dict[str, Any]]) -> list[list[int]]:
        translator, sources, search = prepared
        results = translator.translate_batch(sources, **search)
        return [[int(token) for token in result.hypotheses[0]] for result in results]
