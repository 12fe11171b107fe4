"""`autotune`: a calibrated model and sentences in, the fastest precision within a tolerance out."""

from __future__ import annotations

import gc
import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from keras_int8nmt._progress import progress_bar
from keras_int8nmt._version import __version__
from keras_int8nmt.autotuning.candidates import CANDIDATES, PLAIN, Candidate
from keras_int8nmt.autotuning.chance import CONFIDENCE, sentences_needed
from keras_int8nmt.autotuning.costs import Workload, matmul_times
from keras_int8nmt.autotuning.metric import (
    Bleu,
    Measured,
    Metric,
    measure,
    metric_name,
    uncertainty,
)
from keras_int8nmt.autotuning.result import AutotuneResult, Trial, showing_chance
from keras_int8nmt.autotuning.search import (
    BUDGET,
    TOLERANCE,
    Floats,
    Outcome,
    Problem,
    Scored,
    Search,
    Setting,
)
from keras_int8nmt.autotuning.sensitivity import Divergence, IdPair
from keras_int8nmt.autotuning.state import State, digest
from keras_int8nmt.autotuning.workbench import Workbench
from keras_int8nmt.layers.model_state import observer_values
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.runtime.batching import cut_ids
from keras_int8nmt.thresholds.modes import parse_mode
from keras_int8nmt.tokenizers.adapters import tokenizer_for
from keras_int8nmt.tokenizers.protocol import source_end, target_ids, text_test

# Seconds after which a line of progress may come where there is no terminal: an evaluation mostly
# takes longer.
_LINE = 5.0


def autotune(
    model: Any,
    sample: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
    *,
    tokenizer: Any = None,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
    metric: Metric | None = None,
    modes: Sequence[str] | None = None,
    candidates: Iterable[Candidate] = CANDIDATES,
    unsigned: bool = True,
    budget: int = BUDGET,
    search: Mapping[str, Any] | None = None,
    state: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> AutotuneResult:
    """Finds the fastest INT8 or float32 for each MatMul whose loss stays within a tolerance.

    Everything in INT8 is tried first, in every mode and for every candidate; mostly that is good
    enough, and then nothing is faster. Otherwise MatMuls are put into float32, those first whose
    INT8 does much harm for the time it saves, until the loss is good enough, and as many as
    possible of them back into INT8.

    Good enough is a loss within the tolerance, and one that a paired test on the sample can't tell
    from none: so chance puts nothing into float32. A loss beyond the tolerance that the sample does
    show is never good enough. The result says how large a loss the sample hides, and how many
    sentences would show one of the size of the tolerance.

    Harm is estimated by KL(float || converted) with one MatMul alone in INT8, teacher-forced on the
    sample (without a tokenizer: by the metric, an evaluation a MatMul). Time is estimated by
    counting (`autotuning/costs.py`), nothing is timed: the same scores give the same result.
    Estimates decide what is tried first, the metric alone decides what is good enough.

    Choose on held-out sentences that are no test set, and not on too few: two models of equal
    quality differ by some tenths of BLEU on a few hundred sentences, and what is smaller than that
    is not seen.

    Args:
        model: A calibrated model, as for `convert`. It is left as it was, thresholds included.
        sample: Source sentences; needed unless there is a `metric`.
        references: Their translations.
        tokenizer: As for `Translator`; needed with `sample`.
        tolerance: How much less than the float model's score is good enough, at least 0, in units
            of the metric.
        confidence: How sure it must be, one-sided, that a loss beyond the tolerance is none of
            chance: at least 0.5 and below 1. At 0.5 every loss counts as it is measured.
        metric: A function from a model (the float one without observers, or a converted one) to a
            number, higher is better, or to a 1-dimensional array with a number for each sentence,
            of which the mean counts. With the array chance is told from loss; a bare number counts
            as it is. Default: corpus BLEU by sacreBLEU of the translations of `sample`. Its
            attribute `name`, or the function's own, stands in reports and tells metrics apart in
            `state`.
        modes: How thresholds are chosen, see `find_thresholds`: each of them is tried. The model
            must hold its histograms, as after calibration. None: thresholds stay as they are.
        candidates: Conversions to try, see `Candidate`.
        unsigned: For `modes`, as in `settle`: whether tensors without negative values are uint8.
        budget: Most evaluations of converted models, at least 1. Where it ends the search, the
            fastest that was good enough counts; where none was, everything stays float32.
        search: Keyword arguments of `Translator`, such as `beam_size`. With several streams the
            float32 products of a mixed model may differ in their last bits from run to run, and
            now and then a score with them; `{"streams": 1}` rules that out.
        state: A file that keeps every number as it is measured. Started again with it, the same
            call goes on where it stopped; another tolerance or budget uses the numbers again.
        progress: Show progress bars on stderr if that is a terminal, else lines.

    Returns:
        An `AutotuneResult`: a policy of `convert`, and a report of what was tried.

    Raises:
        ValueError: for an argument that is missing or out of range, or a score that is not finite.
        ConversionError: as `convert`: when the model is not calibrated or can't be converted.
        CalibrationError: for `modes`, when the model holds no histograms.
        StateError: when `state` is a file of another kind.

    Example:

        >>> calibrate(model, tokenizer, sources)
        >>> result = autotune(model, valid_sources, valid_references, tokenizer=tokenizer)
        >>> int8 = convert(model, policy=result)
    """
    candidates = _checked_candidates(candidates)
    _check_numbers(tolerance, confidence, budget)
    _check_modes(modes)
    options = dict(search or {})
    pairs = _token_pairs(model, tokenizer, sample, references)
    if metric is None:
        if pairs is None or sample is None or references is None:
            raise ValueError(
                "Without a `metric`, autotune needs a Transformer, `sample`, `references` and "
                "`tokenizer`."
            )
        metric = Bleu(tokenizer, sample, references, options)
    settings = [Setting(c.name, mode, c.cost) for c in candidates for mode in modes or (None,)]
    run = digest(
        ["paired", __version__, _digest(model), metric_name(metric), pairs, references, options]
    )
    bench = Workbench(model, candidates, unsigned)
    with bench, progress_bar(budget, "autotune", progress, seconds=_LINE) as bar:
        found = {c.name: bench.int8_matmuls(c, settings[0]) for c in candidates}
        matmuls = found[settings[0].candidate][0]
        int8 = {name: able for name, (_, able) in found.items()}
        names = [name for name in matmuls if any(name in able for able in int8.values())]
        times = matmul_times(model, _workload(pairs, options))
        measuring = _Measuring(bench, metric, State(state, run))

        def tell(trial: Trial) -> None:
            bar.set_postfix_str(
                f"{measuring.name} {trial.score:.2f}, loss {trial.loss_text()}, "
                f"{len(trial.floats)} MatMuls in float32: {trial.verdict(tolerance)}",
                refresh=False,
            )
            bar.update(1)

        problem = Problem(
            times={name: times[name] for name in names},
            settings=settings,
            baseline=measuring.baseline.score,
            tolerance=tolerance,
            budget=budget,
            evaluate=measuring.score,
            harms=None
            if pairs is None
            else lambda s: (
                dict.fromkeys(names, 0.0)
                | measuring.harms(s, pairs, names, int8[s.candidate], progress)
            ),
            confidence=confidence,
            tell=tell,
        )
        outcome = Search(problem).run()
    chosen = outcome.chosen
    able = set() if chosen is None else int8[chosen.candidate] - set(chosen.floats)
    return _result(
        problem,
        outcome,
        {name: "int8" if name in able else "float32" for name in matmuls},
        candidates,
        unsigned,
        measuring,
        pairs is not None,
    )


class _Measuring:
    """Numbers from the state file, or measured and kept there."""

    def __init__(self, bench: Workbench, metric: Metric, state: State) -> None:
        self.bench, self.metric, self.state = bench, metric, state
        self.name = metric_name(metric)
        self.baseline = self._baseline()

    @property
    def sentences(self) -> int:
        """How many the metric tells numbers of; 0: it gives scores alone."""
        return 0 if self.baseline.rows is None else len(self.baseline.rows)

    def _baseline(self) -> Measured:
        """The float model's score."""
        of = ["float32"]
        score = self.state.get(of)
        if score is not None:
            rows = self.state.more(of).get("sentences")
            return Measured(score, None if rows is None else np.array(rows))
        found = measure(self.metric, plain_model(self.bench.model))
        rows = {} if found.rows is None else {"sentences": found.rows.tolist()}
        self.state.add(of, found.score, **rows)
        return found

    def score(self, setting: Setting, floats: Floats) -> Scored:
        policy = dict.fromkeys(sorted(floats), "float32")
        of = [*self._described(setting), sorted(floats)]
        score = self.state.get(of)
        if score is None:
            found = measure(self.metric, self.bench.convert(setting, policy))
            sure = uncertainty(self.metric, self.baseline, found)
            score = found.score
            self.state.add(of, score, **({} if sure is None else asdict(sure)))
        # Layers refer to each other in circles, and a model's packed weights go with them.
        gc.collect()
        more = self.state.more(of)
        return Scored(score, more.get("error"), more.get("differing", 0))

    def harms(
        self,
        setting: Setting,
        pairs: list[IdPair],
        names: list[str],
        able: set[str],
        progress: bool,
    ) -> dict[str, float]:
        """The divergence of each of `able` alone in INT8; the other names are float."""
        described = ["divergence", *self._described(setting)]
        divergence = Divergence(plain_model(self.bench.model), pairs)
        found = {}
        with progress_bar(len(able), "sensitivities", progress) as bar:
            for name in sorted(able, key=names.index):
                policy = dict.fromkeys((n for n in names if n != name), "float32")
                found[name] = self._kept(
                    [*described, name],
                    lambda policy=policy: divergence(self.bench.convert(setting, policy)),
                )
                bar.update(1)
        return found

    def _described(self, setting: Setting) -> list[Any]:
        candidate = self.bench.candidates[setting.candidate]
        described = [setting.candidate, dict(candidate.convert_options), setting.mode]
        if setting.mode is not None and not self.bench.unsigned:
            described.append("int8 where nothing is negative")
        return [*described, candidate.key] if candidate.key else described

    def _kept(self, of: list[Any], measure: Any) -> float:
        number = self.state.get(of)
        if number is None:
            number = measure()
            self.state.add(of, number)
        return number


def _result(
    problem: Problem,
    outcome: Outcome,
    assignment: dict[str, str],
    candidates: tuple[Candidate, ...],
    unsigned: bool,
    measuring: _Measuring,
    by_divergence: bool,
) -> AutotuneResult:
    chosen, metric, sentences = outcome.chosen, measuring.name, measuring.sentences
    telling = showing_chance(chosen, outcome.trials)
    by_name = {candidate.name: candidate for candidate in candidates}
    return AutotuneResult(
        assignment=assignment,
        candidate=PLAIN if chosen is None else by_name[chosen.candidate],
        mode=None if chosen is None else chosen.mode,
        unsigned=unsigned,
        metric=metric,
        baseline=problem.baseline,
        tolerance=float(problem.tolerance),
        budget=problem.budget,
        exhausted=outcome.exhausted,
        chosen=None if chosen is None else chosen.number,
        trials=tuple(outcome.trials),
        sensitivities=outcome.sensitivities,
        sensitivity_unit="KL, nats a token" if by_divergence else f"loss of {metric}",
        confidence=problem.confidence,
        sentences=sentences,
        sentences_needed=None
        if telling is None or telling.error is None
        else sentences_needed(sentences, telling.error, problem.tolerance, problem.confidence),
    )


# ---- arguments ----


def _checked_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    found = tuple(candidates)
    names = [candidate.name for candidate in found]
    if not found or len(set(names)) < len(names):
        raise ValueError(
            f"`candidates` must be some `Candidate`s with names of their own; received {names}."
        )
    return found


def _check_numbers(tolerance: float, confidence: float, budget: int) -> None:
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"`tolerance` must be a number of at least 0; received {tolerance!r}.")
    if not 0.5 <= confidence < 1:
        raise ValueError(
            f"`confidence` must be a number from 0.5 to below 1; received {confidence!r}."
        )
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise ValueError(f"`budget` must be a whole number of at least 1; received {budget!r}.")


def _check_modes(modes: Sequence[str] | None) -> None:
    if modes is None:
        return
    if isinstance(modes, str) or not modes:
        raise ValueError(f"`modes` must be None or a list of modes; received {modes!r}.")
    for mode in modes:
        parse_mode(mode)


def _token_pairs(
    model: Any,
    tokenizer: Any,
    sample: Sequence[str] | None,
    references: Sequence[str] | None,
) -> list[IdPair] | None:
    """Ids of sentences and references, as models get them; None where something is missing."""
    if sample is not None and references is not None and len(sample) != len(references):
        raise ValueError(
            f"There must be one reference for each sentence of `sample`; received {len(sample)} "
            f"sentences and {len(references)} references."
        )
    if not isinstance(model, Transformer) or None in (tokenizer, sample, references):
        return None
    tokenizer = tokenizer_for(model, tokenizer)
    has_text = text_test(tokenizer)

    end = source_end(tokenizer, model.eos_id)
    longest = model.max_length
    pairs = [
        (
            cut_ids(tokenizer.encode(source), longest, end),
            cut_ids(target_ids(tokenizer, target, model.eos_id), longest, model.eos_id),
        )
        for source, target in zip(sample or (), references or (), strict=True)
        if has_text(source)
    ]
    # A source without an end token may have none at all.
    pairs = [pair for pair in pairs if pair[0]]
    if not pairs:
        raise ValueError("`sample` has no sentence.")
    return pairs


def _workload(pairs: list[IdPair] | None, options: Mapping[str, Any]) -> Workload:
    used = {name: options[name] for name in ("beam_size", "batch_size") if name in options}
    if pairs is None:
        return Workload(**used)
    source, target = (float(np.mean([len(pair[i]) for pair in pairs])) for i in (0, 1))
    return Workload(source, target, **used)


def _digest(model: Any) -> str:
    """Tells models apart by their weights, histograms and thresholds."""
    found = hashlib.sha256()
    for weight in [*model.weights, *(variable for variable, _ in observer_values(model))]:
        value = np.ascontiguousarray(weight.numpy())
        found.update(f"{weight.path} {value.dtype} {value.shape} ".encode())
        found.update(value.tobytes())
    return found.hexdigest()
