"""`transformers` and PyTorch's dynamic INT8 of all Linear layers, for a Marian checkpoint."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines import UnavailableError
from keras_int8nmt.bench.translation.sentences import VARIABLE, shared_folder


class DynamicInt8:
    """`MarianMTModel` after `quantize_dynamic`; batches one after another, PyTorch on all cores.

    Args:
        folder: Not used: it reads the same weights in their own layout.
        cores: Threads of PyTorch.
    """

    def __init__(self, folder: Any, cores: int) -> None:
        checkpoint = shared_folder() / "models" / "marian-tiny-en-de"
        if not (checkpoint / "config.json").is_file():
            raise UnavailableError(
                f"no folder models/marian-tiny-en-de in Marian's layout ({VARIABLE} names where)"
            )
        torch.set_num_threads(cores)
        model = transformers.MarianMTModel.from_pretrained(str(checkpoint)).eval()
        self.model = torch.ao.quantization.quantize_dynamic(
            model, {torch.nn.Linear}, dtype=torch.qint8
        )
        self.settings = (
            f"transformers {transformers.__version__}, PyTorch {torch.__version__}, "
            f"quantize_dynamic of Linear, caches, {cores} threads"
        )

    def prepare(self, job: Job) -> tuple[list[Any], list[int], dict[str, Any]]:
        order = sorted(range(len(job.sentences)), key=lambda i: -len(job.sentences[i]))
        pad = self.model.config.pad_token_id
        batches = []
        for first in range(0, len(order), job.batch_size):
            rows = [list(job.sentences[i]) for i in order[first : first + job.batch_size]]
            width = max(map(len, rows))
            ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
            lengths = torch.tensor([len(row) for row in rows])
            batches.append((ids, (torch.arange(width) < lengths[:, None]).long()))
        search = {
            "num_beams": job.beam_size,
            "do_sample": False,
            "early_stopping": False,
            "length_penalty": 1.0,
            "min_length": job.min_length,
            # It counts the token that the decoder is started with.
            "max_length": job.max_length + 1,
        }
        return batches, order, search

    def run(self, prepared: tuple[list[Any], list[int], dict[str, Any]]) -> list[list[int]]:
        batches, order, search = prepared
        found: list[list[int]] = []
        eos = self.model.config.eos_token_id
        with torch.inference_mode():
            for ids, mask in batches:
                rows = self.model.generate(ids, attention_mask=mask, **search)[:, 1:].tolist()
                found += [row[: row.index(eos) + 1] if eos in row else row for row in rows]
        results: list[list[int]] = [[]] * len(found)
        for i, row in zip(order, found, strict=True):
            results[i] = row
        return results
