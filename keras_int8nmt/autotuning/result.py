"""What `autotune` chose, and what it tried: a policy of `convert`, as text and as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from keras_int8nmt._tables import format_table
from keras_int8nmt._untrusted import parse_json
from keras_int8nmt.autotuning.candidates import KNOWN, PLAIN, Candidate, find_candidates
from keras_int8nmt.autotuning.chance import CONFIDENCE
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.quantization import PRECISIONS

FORMAT = "keras-int8nmt policy"
# Version 1 knew no chance.
FORMAT_VERSION = 2
_READ_VERSIONS = (1, 2)
_SINCE_2 = {"confidence", "sentences", "sentences_needed"}
# Names of float MatMuls in a row of the text; of more only the number is told.
_NAMED = 2


class PolicyFileError(KerasInt8nmtError, ValueError):
    """A file is no policy of `autotune`; the message says what is missing or wrong."""


@dataclass(frozen=True)
class Trial:
    """One evaluation.

    Attributes:
        number: Counted from 1.
        purpose: "all INT8", "sensitivity" (one MatMul alone in INT8), "frontier" (a set that the
            estimates suggest) or "back to INT8" (what was found, with less in float).
        candidate: Name of the candidate.
        mode: How thresholds were chosen; None: as the model came.
        floats: The MatMuls in float32; the others were INT8.
        score: By the metric.
        loss: The float model's score less this one.
        time: Estimated time of the MatMuls, as a part of what they take in float32.
        good: Whether the loss is within the tolerance, or can't be told from none.
        error: Standard error of the loss, by paired bootstrap over the sentences; None: the metric
            tells no more than a score.
        margin: How much of the loss may be chance at the confidence asked for; None as in `error`.
    """

    number: int
    purpose: str
    candidate: str
    mode: str | None
    floats: tuple[str, ...]
    score: float
    loss: float
    time: float
    good: bool
    error: float | None = None
    margin: float | None = None

    def verdict(self, tolerance: float) -> str:
        """In words."""
        if not self.good:
            return "too lossy"
        return "good" if self.loss <= tolerance else "within chance"

    def loss_text(self) -> str:
        """The loss and how much of it may be chance."""
        return f"{self.loss:+.2f}" + (f" ± {self.margin:.2f}" if self.margin else "")


def showing_chance(chosen: Trial | None, trials: Iterable[Trial]) -> Trial | None:
    """The trial that shows what chance does: the chosen one, or the first where some is known."""
    both = trials if chosen is None else (chosen, *trials)
    return next((trial for trial in both if trial.margin), None)


@dataclass(frozen=True, eq=False)
class AutotuneResult(Mapping[str, str]):
    """The assignment that `autotune` found: from names of MatMuls to "int8" or "float32".

    As a mapping it is a policy: `convert(model, policy=result)`. That is all where neither `modes`
    nor candidates were given to `autotune`; otherwise `result.convert(model)` also chooses the
    thresholds, prepares the model and passes the options as was found best.

    Attributes:
        assignment: The same mapping.
        candidate: The `Candidate` that was chosen.
        mode: The mode of thresholds that was chosen; None: as the model came.
        unsigned: As given to `autotune`: with a mode, whether tensors without negative values are
            uint8.
        metric: Name of the metric.
        baseline: The float model's score.
        tolerance: As asked for.
        budget: As asked for.
        exhausted: Whether the budget ended the search; there may be something faster then.
        chosen: Number of the trial that was chosen; None: none was good enough, all is float32.
        trials: Every evaluation, in order.
        sensitivities: For each MatMul how much its INT8 is thought to harm; empty where everything
            was good enough in INT8.
        sensitivity_unit: What these numbers are.
        confidence: How sure it had to be that a loss beyond the tolerance is one.
        sentences: How many the metric told numbers of; 0: it gave scores alone.
        sentences_needed: About how many would show a loss of the size of the tolerance, four times
            of five; None: not known, or the tolerance is 0.

    Example:

        >>> result = autotune(model, sources, references, tokenizer=tokenizer, modes=MODES)
        >>> print(result.to_text())
        >>> int8 = result.convert(model)
    """

    assignment: dict[str, str]
    candidate: Candidate = PLAIN
    mode: str | None = None
    unsigned: bool = True
    metric: str = ""
    baseline: float = 0.0
    tolerance: float = 0.0
    budget: int = 0
    exhausted: bool = False
    chosen: int | None = None
    trials: tuple[Trial, ...] = ()
    sensitivities: dict[str, float] = field(default_factory=dict)
    sensitivity_unit: str = ""
    confidence: float = CONFIDENCE
    sentences: int = 0
    sentences_needed: int | None = None

    def __getitem__(self, name: str) -> str:
        return self.assignment[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.assignment)

    def __len__(self) -> int:
        return len(self.assignment)

    @property
    def floats(self) -> list[str]:
        """The MatMuls that stay float32."""
        return [name for name, precision in self.items() if precision == "float32"]

    @property
    def trial(self) -> Trial | None:
        """The trial that was chosen; None where all is float32."""
        return None if self.chosen is None else self.trials[self.chosen - 1]

    # ---- onto a model ----

    def apply(self, model: Any) -> Any:
        """Prepares a calibrated model as the chosen candidate does, with the chosen thresholds.

        Args:
            model: The model that was tuned, or one like it. Where the candidate prepares nothing it
                gets the thresholds itself (its histograms must be there, as after calibration).

        Returns:
            The model to hand to `convert`: `model` itself where the candidate prepares nothing.

        Raises:
            CalibrationError: when a mode was chosen and the model holds no histograms.
        """
        if self.candidate.prepare is not None:
            model = self.candidate.prepare(model)
        if self.mode is not None:
            from keras_int8nmt.layers.model_state import settle

            settle(model, self.mode, unsigned=self.unsigned)
        return model

    def convert(self, model: Any, sample: Any = None, **options: Any) -> Any:
        """The converted model as it was chosen: `apply`, then `convert` with this policy.

        Args:
            model: As in `apply`.
            sample: As in `convert`.
            **options: Of `convert`; those of the candidate win.
        """
        from keras_int8nmt.conversion.converter import convert

        prepared = self.apply(model)
        options.update(self.candidate.convert_options)
        return convert(prepared, policy=self, sample=sample, **options)

    # ---- as text and JSON ----

    def summary(self) -> str:
        """One line: what was chosen and what it costs."""
        floats = self.floats
        text = f"{len(self) - len(floats)} of {len(self)} MatMuls in INT8"
        trial = self.trial
        if trial is None:
            text += f"; no trial lost {self.tolerance:g} {self.metric} or less"
        else:
            text += (
                f", {_setting(trial)}: {self.metric} {trial.score:.2f}, float32 "
                f"{self.baseline:.2f}, loss {self._loss(trial)}; estimated time "
                f"of MatMuls {trial.time:.2f} of float32"
            )
        end = ", which is all of the budget" if self.exhausted else ""
        return f"{text}; {len(self.trials)} evaluations{end}"

    def _loss(self, trial: Trial) -> str:
        chance = f" ± {trial.margin:.2f}" if trial.margin else ""
        small = ", which can't be told from none" if trial.loss > self.tolerance else ""
        return f"{trial.loss:.2f}{chance} of {self.tolerance:g}{small}"

    def chance(self) -> str:
        """What the sentences can show, one line; empty where the metric tells no more than scores.

        ± is how much of a loss may be chance.
        """
        trial = showing_chance(self.trial, self.trials)
        if trial is None:
            return ""
        margin = trial.margin or 0.0
        text = (
            f"± at {100 * self.confidence:g} %: on {self.sentences} sentences a loss of up to "
            f"{margin:.2f} {self.metric} can't be told from none"
        )
        if margin <= self.tolerance or self.sentences_needed is None:
            return text + "."
        return (
            f"{text}; to see one of {self.tolerance:g} takes about {self.sentences_needed:,} "
            "sentences."
        )

    def to_text(self) -> str:
        """The trials, the sensitivities where they were needed, and what was chosen."""
        head = ("trial", "setting", "float32", self.metric, "loss", "time", "verdict")
        rows = [
            (
                f"{trial.number} {trial.purpose}",
                _setting(trial),
                _listed(trial.floats),
                f"{trial.score:.2f}",
                trial.loss_text(),
                f"{trial.time:.3f}",
                trial.verdict(self.tolerance) + (", chosen" if trial.number == self.chosen else ""),
            )
            for trial in self.trials
        ]
        parts = [format_table([head, *rows])]
        if self.sensitivities:
            ranked = sorted(self.sensitivities.items(), key=lambda item: -item[1])
            table = [("MatMul", f"harm of INT8 ({self.sensitivity_unit})", "chosen")]
            table += [(name, f"{harm:.4g}", self[name]) for name, harm in ranked]
            parts.append(format_table(table))
        last = "\n".join(filter(None, (self.chance(), self.summary())))
        return "\n\n".join([*parts, last])

    def to_dict(self) -> dict[str, Any]:
        """JSON values; of the candidate's `prepare` only whether there is one."""
        content: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION}
        for entry in fields(self):
            content[entry.name] = getattr(self, entry.name)
        content["candidate"] = {
            "name": self.candidate.name,
            "prepares": self.candidate.prepare is not None,
            "convert_options": dict(self.candidate.convert_options),
            "cost": self.candidate.cost,
        }
        content["trials"] = [{**asdict(t), "floats": list(t.floats)} for t in self.trials]
        return content

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, content: Any, candidates: Iterable[Candidate] = KNOWN) -> AutotuneResult:
        """The result that `to_dict` gave.

        Args:
            content: What it gave, or was read from JSON.
            candidates: Where a candidate that prepares the model is looked up by its name.

        Raises:
            PolicyFileError: naming what is missing or unknown.
        """
        content = _checked(content)
        entry = content["candidate"]
        try:
            if entry["prepares"]:
                (candidate,) = find_candidates([entry["name"]], candidates)
            else:
                candidate = Candidate(
                    entry["name"], None, dict(entry["convert_options"]), entry["cost"]
                )
            content["trials"] = tuple(
                Trial(**{**trial, "floats": tuple(trial["floats"])}) for trial in content["trials"]
            )
        except (ValueError, TypeError, KeyError) as error:
            raise PolicyFileError(f"The policy does not fit this release: {error}") from error
        return cls(**{**content, "candidate": candidate})

    @classmethod
    def from_json(cls, text: str, candidates: Iterable[Candidate] = KNOWN) -> AutotuneResult:
        """The result that `to_json` wrote; see `from_dict`."""
        try:
            content = parse_json(text.encode("utf-8"))
        except ValueError as error:
            raise PolicyFileError(f"A policy is JSON: {error}") from error
        return cls.from_dict(content, candidates)


def read_policy(path: str | os.PathLike[str]) -> AutotuneResult | dict[str, str]:
    """The policy in a file: what `AutotuneResult.to_json` wrote, or a plain mapping.

    Raises:
        PolicyFileError: naming the file, when it is neither.
        OSError: when it can't be read.
    """
    try:
        content = parse_json(Path(path).read_bytes())
        if isinstance(content, dict) and "format" in content:
            return AutotuneResult.from_dict(content)
    except ValueError as error:
        raise PolicyFileError(f"{str(path)!r}: {error}") from error
    if not isinstance(content, dict) or not _precisions(content):
        raise PolicyFileError(
            f"{str(path)!r} must hold what autotune wrote, or a JSON object from names of MatMuls "
            f"to {' or '.join(map(repr, PRECISIONS))}."
        )
    return content


def _checked(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PolicyFileError(f'A policy is a JSON object with "format": "{FORMAT}".')
    version = content.get("format_version")
    if version not in _READ_VERSIONS:
        raise PolicyFileError(
            f"The policy has format version {version!r}; this release reads "
            f"{' and '.join(map(str, _READ_VERSIONS))}."
        )
    content = {k: v for k, v in content.items() if k not in ("format", "format_version")}
    known = {entry.name for entry in fields(AutotuneResult)}
    if version == 1:
        known -= _SINCE_2
    if content.keys() != known:
        raise PolicyFileError(
            f"A policy must have the entries {sorted(known)}; found {sorted(content)}."
        )
    assignment, chosen, trials = content["assignment"], content["chosen"], content["trials"]
    if not isinstance(assignment, dict) or not _precisions(assignment):
        raise PolicyFileError(
            f"`assignment` must name {' or '.join(map(repr, PRECISIONS))} for each MatMul."
        )
    if not isinstance(trials, list) or not (chosen is None or chosen in range(1, len(trials) + 1)):
        raise PolicyFileError("`chosen` must be null or the number of one of `trials`.")
    if not isinstance(content["baseline"], int | float) or not math.isfinite(content["baseline"]):
        raise PolicyFileError("`baseline` must be a number.")
    return content


def _setting(trial: Trial) -> str:
    return trial.candidate + (f", {trial.mode}" if trial.mode is not None else "")


def _listed(floats: tuple[str, ...]) -> str:
    return " ".join(floats) if len(floats) <= _NAMED else f"{len(floats)} MatMuls"


def _precisions(mapping: dict[str, Any]) -> bool:
    return all(value in PRECISIONS for value in mapping.values())
