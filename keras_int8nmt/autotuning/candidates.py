"""The conversions that `autotune` tries. To add one, add a row to `CANDIDATES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_int8nmt.autotuning.state import digest
from keras_int8nmt.calibration.options import DEFAULT_ALPHA


@dataclass(frozen=True)
class Candidate:
    """A way to convert a calibrated model.

    Attributes:
        name: By which reports, files and the command line know it.
        prepare: Takes a calibrated model and gives the calibrated model to convert, with MatMuls of
            the same names: another one, or the same one unchanged. It must not change the one it
            is given. None: nothing is to be prepared.
        convert_options: Keyword arguments of `convert`, JSON values; not `policy` and `sample`.
        cost: How much longer an INT8 product takes than in a plain conversion: 1.2 for an option
            with which it takes a fifth longer.
        key: What `prepare` depends on, such as a digest of its sentences. In `state`, numbers of
            another key are not used.

    Raises:
        ValueError: for a name that is empty, a cost that is not positive, or an option that
            `autotune` sets by itself.

    Example:

        >>> Candidate("balanced", prepare=my_balance)
        >>> Candidate("per tensor", convert_options={"weights": "per_tensor"})
    """

    name: str
    prepare: Callable[[Any], Any] | None = None
    convert_options: Mapping[str, Any] = field(default_factory=dict)
    cost: float = 1.0
    key: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"A candidate's name must be text; received {self.name!r}.")
        if not 0 < self.cost < float("inf"):
            raise ValueError(
                f"The cost of candidate {self.name!r} must be a positive number; received "
                f"{self.cost!r}."
            )
        for option in ("policy", "sample"):
            if option in self.convert_options:
                raise ValueError(f"Candidate {self.name!r}: `{option}` is set by autotune itself.")


PLAIN = Candidate("plain")

# What is tried unless others are asked for, and what has a name on the command line and in files.
CANDIDATES: tuple[Candidate, ...] = (PLAIN,)
KNOWN: tuple[Candidate, ...] = (
    PLAIN,
    Candidate("bias correction", convert_options={"bias_correction": True}),
    # A pass over each input, and attention in float.
    Candidate("dynamic scales", convert_options={"activations": "dynamic"}, cost=1.2),
)


def balanced_candidate(
    tokenizer: Any, sentences: Sequence[str], alpha: float = DEFAULT_ALPHA
) -> Candidate:
    """The model after `balance`, calibrated again on `sentences`; see `calibrate_balanced`.

    It has no name in files, since a file holds no sentences: use the result at once, or tune a
    model that `calibrate --balance` wrote.

    Args:
        tokenizer: That of the model.
        sentences: Sources to calibrate on.
        alpha: As in `balance`.

    Example:

        >>> balanced = balanced_candidate(tokenizer, sentences)
        >>> result = autotune(model, sources, references, tokenizer=tokenizer,
        ...                   candidates=(PLAIN, balanced))
        >>> int8 = result.convert(model)
    """

    def prepare(model: Any) -> Any:
        from keras_int8nmt.calibration.from_sentences import calibrate_balanced
        from keras_int8nmt.layers.model_state import observers_kept

        with observers_kept(model):
            return calibrate_balanced(model, tokenizer, sentences, alpha=alpha)[0]

    name = "balanced" if alpha == DEFAULT_ALPHA else f"balanced {alpha:g}"
    return Candidate(name, prepare=prepare, key=digest([alpha, list(sentences)]))


def find_candidates(
    names: Iterable[str], known: Iterable[Candidate] = KNOWN
) -> tuple[Candidate, ...]:
    """The candidates of these names, in their order.

    Raises:
        ValueError: for a name that is none of `known`, with those that are.
    """
    by_name = {candidate.name: candidate for candidate in known}
    names = list(names)
    for name in names:
        if name not in by_name:
            raise ValueError(
                f"There is no candidate {name!r}; there are: {', '.join(map(repr, by_name))}."
            )
    return tuple(by_name[name] for name in names)
