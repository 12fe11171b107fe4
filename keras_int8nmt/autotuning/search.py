"""The search for the fastest assignment within a tolerance; it knows no model.

1. Everything in INT8, for each setting (a candidate and a mode of thresholds). If that of the
   cheapest setting is good enough there is nothing faster, and of several the best is taken.
2. Otherwise, for the setting with the best score: how much harm the INT8 of each MatMul does, and
   from that and the costs the `Frontier`. Along it the harm falls and the time rises. Steps
   towards less harm until a set is good enough, then bisection back towards less time.
3. MatMuls of the set that was found go back to INT8, many at a time first, where that is still good
   enough: the harm was an estimate. After a number of trials in vain that ends.

Only scores decide; estimates decide in which order sets are tried. Good enough is a loss within the
tolerance, and one that can't be told from none (chance.py). What is a subset of a set that was too
lossy is not tried: more in INT8 is taken to be no better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keras_int8nmt.autotuning.chance import CONFIDENCE, margin
from keras_int8nmt.autotuning.frontier import Frontier
from keras_int8nmt.autotuning.result import Trial
from keras_int8nmt.errors import KerasInt8nmtError

# What is good enough unless it is said: so much less than the float model's score, after so many
# evaluations at most.
TOLERANCE = 0.1
BUDGET = 60
# A step along the frontier leaves at most and at least this part of the harm left before.
_LARGEST_STEP, _SMALLEST_STEP = 1 / 8, 1 / 2
# Two sets whose costs differ by less, as a part of the cost of everything, are not told apart.
_RESOLUTION = 1e-3
# Trials in a row that find nothing to give back to INT8, after which no more are made.
_PATIENCE = 16
# Harm of which no more is left than this is none.
_NO_HARM = 1e-6


@dataclass(frozen=True)
class Times:
    """Estimated time of one MatMul in either precision, in one unit for all of them."""

    int8: float
    float32: float


@dataclass(frozen=True)
class Setting:
    """A candidate and how thresholds are chosen; `cost` as in `Candidate`."""

    candidate: str
    mode: str | None = None
    cost: float = 1.0


Floats = frozenset[str]


@dataclass(frozen=True)
class Scored:
    """A score and how sure its loss is.

    Attributes:
        score: By the metric.
        error: Standard error of the loss; None: not known, and the loss counts as it is.
        differing: How many sentences score differently from the float model's.
    """

    score: float
    error: float | None = None
    differing: int = 0


@dataclass
class Problem:
    """What is searched.

    Attributes:
        times: The MatMuls that can be INT8, and their estimated times.
        settings: What is tried, at least one.
        baseline: The float model's score.
        tolerance: How much less is good enough.
        budget: Most evaluations.
        evaluate: The score of a setting with some MatMuls in float.
        harms: An estimate of the harm that the INT8 of each MatMul does in a setting; None: the
            loss with that one alone in INT8, which takes an evaluation each.
        confidence: How sure it must be that a loss beyond the tolerance is one, see `margin`.
        tell: Is told each trial when it was made.
    """

    times: Mapping[str, Times]
    settings: list[Setting]
    baseline: float
    tolerance: float
    budget: int
    evaluate: Callable[[Setting, Floats], Scored]
    harms: Callable[[Setting], Mapping[str, float]] | None
    confidence: float = CONFIDENCE
    tell: Callable[[Trial], None] = lambda trial: None


@dataclass
class Outcome:
    """What a search found.

    Attributes:
        trials: In the order in which they were made.
        chosen: The cheapest that is good enough; None: only the float model is.
        sensitivities: The harms, empty where they were not needed.
        exhausted: Whether the search was ended by its budget.
    """

    trials: list[Trial] = field(default_factory=list)
    chosen: Trial | None = None
    sensitivities: dict[str, float] = field(default_factory=dict)
    exhausted: bool = False


class _BudgetSpentError(KerasInt8nmtError):
    pass


class Search:
    """One search; `run` does it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.everything: Floats = frozenset(problem.times)
        self._float_time = sum(t.float32 for t in problem.times.values())
        self._tried: dict[tuple[Setting, Floats], Trial] = {}
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Searches until nothing is left to try or the budget is spent."""
        try:
            self._all_int8()
            refined = self._to_refine()
            if refined is not None:
                self._refine(refined)
        except _BudgetSpentError:
            self.outcome.exhausted = True
        return self.outcome

    # ---- trials ----

    def _score(self, setting: Setting, floats: Floats, purpose: str) -> Trial:
        key = setting, floats
        if key not in self._tried:
            if len(self.outcome.trials) >= self.problem.budget:
                raise _BudgetSpentError
            scored = self.problem.evaluate(setting, floats)
            loss = self.problem.baseline - scored.score
            chance = (
                None
                if scored.error is None
                else margin(loss, scored.error, scored.differing, self.problem.confidence)
            )
            trial = Trial(
                number=len(self.outcome.trials) + 1,
                purpose=purpose,
                candidate=setting.candidate,
                mode=setting.mode,
                floats=tuple(name for name in self.problem.times if name in floats),
                score=scored.score,
                loss=loss,
                time=self._time(setting, floats),
                good=loss <= max(self.problem.tolerance, chance or 0.0),
                error=scored.error,
                margin=chance,
            )
            self._tried[key] = trial
            self.outcome.trials.append(trial)
            self.problem.tell(trial)
            if trial.good and (self.outcome.chosen is None or _better(trial, self.outcome.chosen)):
                self.outcome.chosen = trial
        return self._tried[key]

    def _time(self, setting: Setting, floats: Floats) -> float:
        """Of all MatMuls, as a part of what they take in float32."""
        if self._float_time == 0:
            return 1.0
        times = self.problem.times.items()
        spent = sum(t.float32 if n in floats else t.int8 * setting.cost for n, t in times)
        return spent / self._float_time

    def _good(self, setting: Setting, floats: Floats, purpose: str) -> bool:
        if floats == self.everything:
            return True
        for (tried, others), trial in self._tried.items():
            if tried == setting and not trial.good and floats <= frozenset(others):
                return False
        return self._score(setting, floats, purpose).good

    # ---- the three parts ----

    def _all_int8(self) -> None:
        # The cheapest first: slower ones are of no use once one of these is good enough.
        for setting in sorted(self.problem.settings, key=lambda s: s.cost):
            chosen = self.outcome.chosen
            if chosen is None or self._time(setting, frozenset()) <= chosen.time:
                self._score(setting, frozenset(), "all INT8")

    def _to_refine(self) -> Setting | None:
        """The setting of the best score of those that could still be faster than the chosen."""
        limit = 1.0 if self.outcome.chosen is None else self.outcome.chosen.time
        found = None
        for setting in self.problem.settings:
            trial = self._tried.get((setting, frozenset()))
            if trial is None or trial.good or trial.time >= limit:
                continue
            # Of equal ones the first.
            if found is None or trial.score > self._tried[found, frozenset()].score:
                found = setting
        return found

    def _refine(self, setting: Setting) -> None:
        times = self.problem.times
        costs = {n: max(t.float32 - t.int8 * setting.cost, 0.0) for n, t in times.items()}
        harms = self.problem.harms
        found = self._measured(setting) if harms is None else dict(harms(setting))
        self.outcome.sensitivities = found
        frontier = Frontier(costs, {n: max(h, 0.0) for n, h in found.items()})
        good = self._bisect(setting, frontier, *self._bracket(setting, frontier))
        self._give_back(setting, good, costs, found)

    def _measured(self, setting: Setting) -> dict[str, float]:
        """The loss with each MatMul alone in INT8, for as many as half of the budget allows."""
        most = (self.problem.budget - len(self.outcome.trials)) // 2
        losses = {
            name: self._score(setting, self.everything - {name}, "sensitivity").loss
            for name in list(self.problem.times)[:most]
        }
        # Of the others nothing is known but that they are like these.
        mean = sum(max(loss, 0.0) for loss in losses.values()) / max(len(losses), 1)
        return {name: losses.get(name, mean) for name in self.problem.times}

    def _bracket(self, setting: Setting, frontier: Frontier) -> tuple[int, int]:
        """Two places on the frontier: one that is too lossy, and one after it that is good."""
        low, left = 0, 1.0
        trial = self._tried[setting, frozenset()]
        while True:
            allowed = max(self.problem.tolerance, trial.margin or 0.0)
            step = allowed / trial.loss if trial.loss > 0 else 0.0
            left *= min(max(step, _LARGEST_STEP), _SMALLEST_STEP)
            high = max(frontier.first_with(left if left > _NO_HARM else 0.0), low + 1)
            if high >= len(frontier) - 1:
                return low, len(frontier) - 1
            if self._good(setting, frontier[high], "frontier"):
                return low, high
            low, left = high, frontier.left(high)
            trial = self._tried.get((setting, frontier[high]), trial)

    def _bisect(self, setting: Setting, frontier: Frontier, low: int, high: int) -> Floats:
        while high - low > 1 and frontier.cost(high) - frontier.cost(low) > _RESOLUTION:
            half = (frontier.cost(low) + frontier.cost(high)) / 2
            places = range(low + 1, high)
            middle = min(places, key=lambda i: (abs(frontier.cost(i) - half), i))
            if self._good(setting, frontier[middle], "frontier"):
                high = middle
            else:
                low = middle
        return frontier[high]

    def _give_back(
        self,
        setting: Setting,
        floats: Floats,
        costs: Mapping[str, float],
        harms: Mapping[str, float],
    ) -> None:
        """INT8 for what need not be float: halves of halves, the least harm for its cost first."""

        def harm_for_cost(name: str) -> tuple[float, str]:
            return max(harms[name], 0.0) / max(costs[name], 1e-300), name

        waiting = [sorted(floats, key=harm_for_cost)]
        in_vain = 0
        while waiting and in_vain < _PATIENCE:
            part = waiting.pop()
            evaluated = len(self.outcome.trials)
            if part and self._good(setting, floats - frozenset(part), "back to INT8"):
                floats, in_vain = floats - frozenset(part), 0
                continue
            in_vain += len(self.outcome.trials) - evaluated
            if len(part) > 1:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]


def _better(trial: Trial, other: Trial) -> bool:
    """Whether it is faster or, where that makes no difference, loses less."""
    if not math.isclose(trial.time, other.time, rel_tol=1e-9):
        return trial.time < other.time
    return trial.loss < other.loss
