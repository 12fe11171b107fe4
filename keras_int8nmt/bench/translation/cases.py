"""What is measured: a model, a search, a batch, streams and sentences, in one name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

BATCHES = (32, 128, 8, 1)
BEAMS = (4, 1)
LENGTHS = (27, 8, 100)
# Sentences handed over one at a time in a case of batch 1 and one stream.
SINGLE_SENTENCES = 8
# Of real sentences, which are shorter and of many lengths.
SINGLE_REAL_SENTENCES = 200
# The fifth word of a name where sentences are real and end where the model ends them.
REAL = "tatoeba"

_NAME = re.compile(r"(\w+) beam(\d+) b(\d+) s(\d+) (?:(\d+)tok|(" + REAL + r"))")


@dataclass(frozen=True)
class Case:
    """A case; `str()` gives its name, such as `base beam4 b32 s2 27tok`.

    Attributes:
        model: A name of `models.MODELS`.
        beam: Live hypotheses a sentence; 1 is greedy search.
        batch: Sentences a batch.
        streams: Batches at the same time, each on a core of its own.
        source_tokens: Length of every source, the end token included; its translation is forced to
            be one longer. 0: real sentences.
    """

    model: str
    beam: int
    batch: int
    streams: int
    source_tokens: int = 0

    def __str__(self) -> str:
        source = f"{self.source_tokens}tok" if self.source_tokens else REAL
        return f"{self.model} beam{self.beam} b{self.batch} s{self.streams} {source}"

    @classmethod
    def parse(cls, name: str) -> Case:
        """The case of a name.

        Raises:
            ValueError: when it is none.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is not a case; one is 'base beam4 b32 s2 27tok'.")
        model, beam, batch, streams, tokens, _ = found.groups()
        case = cls(model, int(beam), int(batch), int(streams), int(tokens or 0))
        if min(case.beam, case.batch, case.streams) < 1 or tokens in ("0", "1"):
            raise ValueError(f"{name!r} is not a case: a number in it is too small.")
        return case

    @property
    def forced(self) -> bool:
        """Whether lengths are forced, so that every engine computes as many tokens."""
        return self.source_tokens > 0

    @property
    def target_tokens(self) -> int:
        """Tokens of every translation in a forced case, the end token included."""
        return self.source_tokens + 1

    @property
    def sentences(self) -> int:
        """Sentences of a turn, at most: two full batches for each stream."""
        if self.batch == self.streams == 1:
            return SINGLE_SENTENCES if self.forced else SINGLE_REAL_SENTENCES
        if not self.forced:
            return 10_000 if self.batch > 1 else SINGLE_REAL_SENTENCES * self.streams
        return max(SINGLE_SENTENCES, 2 * self.streams * self.batch)

    @property
    def group(self) -> tuple[str, int, int]:
        """Cases of one group can be measured with the same workers, set in the same way."""
        return self.model, self.streams, self.batch

    @property
    def warm_up_sentences(self) -> int:
        """One batch for each stream."""
        return self.streams * self.batch


@dataclass(frozen=True)
class Job:
    """What an engine is told to do: search settings and sentences, plain values for JSON.

    `max_length` and `min_length` count the end token, as in `Translator`.
    """

    beam_size: int
    batch_size: int
    streams: int
    min_length: int
    max_length: int
    sentences: Sequence[Sequence[int]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def with_streams(self, streams: int) -> Job:
        return replace(self, streams=streams)


def make_job(case: Case, sentences: Sequence[Sequence[int]], max_length: int) -> Job:
    """The job of `case`; `max_length` bounds translations of real sentences."""
    length = case.target_tokens if case.forced else max_length
    return Job(
        beam_size=case.beam,
        batch_size=case.batch,
        streams=case.streams,
        min_length=length if case.forced else 0,
        max_length=length,
        sentences=sentences,
    )


def forced_sources(case: Case, settings: dict[str, Any]) -> list[list[int]]:
    """Sentences of random tokens for a model of `settings`, the end token last."""
    special = {settings[name] for name in ("pad_id", "eos_id", "start_id")}
    allowed = np.array([i for i in range(settings["source_vocabulary_size"]) if i not in special])
    rng = np.random.default_rng(case.source_tokens)
    ids = rng.choice(allowed, (case.sentences, case.source_tokens))
    ids[:, -1] = settings["eos_id"]
    return ids.tolist()


def headline_cases(cores: int) -> list[Case]:
    """What the default run measures."""
    return [
        Case("base", 4, 32, cores, 27),
        Case("base", 1, 32, cores, 27),
        Case("base", 1, 1, 1, 27),
    ]


def all_cases(cores: int) -> list[Case]:
    """The matrix: headline cases, real sentences, then the rest grouped by `Case.group`."""
    streams = sorted({cores, 1}, reverse=True)
    real = [Case("tiny", beam, 32, s) for s, beam in product(streams, BEAMS)]
    real += [Case("tiny", beam, 1, 1) for beam in BEAMS]
    matrix = [
        Case("base", beam, batch, s, length)
        for s, batch, length, beam in product(streams, BATCHES, LENGTHS, BEAMS)
    ]
    return list(dict.fromkeys([*headline_cases(cores), *real, *matrix]))
