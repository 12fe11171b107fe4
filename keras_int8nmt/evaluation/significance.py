"""Whether two systems differ: paired tests by sacreBLEU, and the interval of their difference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from keras_int8nmt._tables import format_table
from keras_int8nmt.evaluation.bootstrap import RESAMPLES, compare, sentence_statistics
from keras_int8nmt.evaluation.metrics import (
    References,
    make_metrics,
    reference_lists,
    signatures,
    target_language,
)

# Samples unless told, as sacreBLEU has them.
TESTS = {"bs": 1000, "ar": 10_000}
# A difference with a p value below it is not called chance, unless its interval holds none.
SIGNIFICANT = 0.05
_TEST_NAMES = {"bs": "paired bootstrap", "ar": "approximate randomization"}


def is_significant(p_value: float, interval: tuple[float, float] | None = None) -> bool:
    """Whether a difference is called one: what a p value and an interval both say.

    Args:
        p_value: Of a paired test.
        interval: What holds 95 % of the difference's resamples; None where it is not known.
    """
    holds_none = interval is not None and interval[0] <= 0 <= interval[1]
    return p_value < SIGNIFICANT and not holds_none


@dataclass(frozen=True)
class MetricResult:
    """One metric of one system.

    Attributes:
        score: Of the whole corpus.
        mean, ci: Mean of the resamples' scores, and half the length of the interval that holds 95 %
            of them.
        p_value: How likely a difference from the baseline as large as the one seen is by chance;
            None of the baseline. 1 where all outputs are equal.
    """

    score: float
    mean: float
    ci: float
    p_value: float | None


@dataclass(frozen=True)
class SystemResult:
    """One system; what is None of the baseline compares with it.

    Attributes:
        name: As given.
        metrics: "BLEU", "chrF2" and "TER".
        different_outputs: Sentences whose translations differ from the baseline's.
        bleu_difference: BLEU minus the baseline's.
        bleu_difference_interval: The interval that holds 95 % of that difference's resamples.
    """

    name: str
    metrics: dict[str, MetricResult]
    different_outputs: int | None = None
    bleu_difference: float | None = None
    bleu_difference_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """What `compare_systems` found.

    Attributes:
        test: "bs" or "ar".
        samples: Samples of that test.
        resamples: Bootstrap resamples that intervals were taken from.
        seed: Of the random numbers; None: another one each time.
        sentences: Sentences compared.
        signatures: sacreBLEU's signature of each metric.
        systems: The baseline first.
    """

    test: str
    samples: int
    resamples: int
    seed: int | None
    sentences: int
    signatures: dict[str, str]
    systems: list[SystemResult]

    @property
    def baseline(self) -> SystemResult:
        return self.systems[0]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "baseline": self.baseline.name}

    def to_text(self) -> str:
        """A table, a line for each difference, and the signatures."""
        table: list[tuple[str, ...]] = [("", *(n for m in self.signatures for n in (m, "p")))]
        for system in self.systems:
            cells = [system.name]
            for result in system.metrics.values():
                cells.append(f"{result.score:.2f} ({result.mean:.2f} ± {result.ci:.2f})")
                cells.append("baseline" if result.p_value is None else f"{result.p_value:.4f}")
            table.append(tuple(cells))
        lines = [
            f"{_TEST_NAMES[self.test]}, {self.samples} samples; in brackets mean and 95 % of "
            f"{self.resamples} resamples",
            format_table(table),
        ]
        for system in self.systems[1:]:
            assert system.bleu_difference_interval is not None
            low, high = interval = system.bleu_difference_interval
            p_value = system.metrics["BLEU"].p_value
            sure = p_value is not None and is_significant(p_value, interval)
            lines.append(
                f"{system.name} against {self.baseline.name}: BLEU {system.bleu_difference:+.2f}, "
                f"95 % in [{low:+.2f}, {high:+.2f}], "
                f"{'significant' if sure else 'within chance'}; {system.different_outputs} of "
                f"{self.sentences} outputs differ"
            )
        return "\n".join([*lines, *(f"{n}|{text}" for n, text in self.signatures.items())])


def compare_systems(
    translations: Mapping[str, Sequence[str]],
    references: References,
    *,
    test: str = "bs",
    samples: int | None = None,
    label: Mapping[str, str] | None = None,
) -> Comparison:
    """Compares systems with the first one, by BLEU, chrF and TER.

    Scores, p values and the intervals of single systems are those of
    `sacrebleu.significance.PairedTest`. The interval of the BLEU difference is a paired bootstrap
    (Koehn 2004, "Statistical significance tests for machine translation evaluation", section 3):
    both systems are scored on the same sentences drawn with replacement. The random numbers are
    sacreBLEU's: the seed is `$SACREBLEU_SEED`, by default 12345; "none" means another each time.

    Args:
        translations: By the name of the system, two or more; the first one is the baseline.
        references: One for each sentence, or several lists of them.
        test: "bs" (paired bootstrap) or "ar" (paired approximate randomization).
        samples: Of the test; by default 1000 or 10000.
        label: Entries for the signatures, see `metrics.signatures`.

    Raises:
        ValueError: for another test, for fewer than two systems, and where a system has not one
            translation for each reference.

    Example:

        >>> found = compare_systems({"float": floats, "int8": int8s}, references)
        >>> found.systems[1].bleu_difference_interval
        (-0.31, 0.12)
    """
    if test not in TESTS:
        raise ValueError(f"`test` must be one of {', '.join(TESTS)}; received {test!r}.")
    samples = TESTS[test] if samples is None else samples
    if samples < 1:
        raise ValueError(f"`samples` must be at least 1; received {samples}.")
    if len(translations) < 2:
        raise ValueError(f"There must be two systems or more; received {len(translations)}.")
    seed = seed_of_tests()
    lists = reference_lists(references)
    for name, lines in translations.items():
        if len(lines) != len(lists[0]):
            raise ValueError(
                f"There must be one reference for each translation; {name!r} has {len(lines)} "
                f"translations, and there are {len(lists[0])} references."
            )
    found, results = _paired_test(translations, lists, test, samples, label)
    baseline, *others = translations
    language = target_language(label)
    sums = {name: sentence_statistics(t, lists, language) for name, t in translations.items()}
    resamples = samples if test == "bs" else RESAMPLES
    systems = []
    for i, name in enumerate(translations):
        metrics = {metric: _result(column[i]) for metric, column in results.items()}
        systems.append(SystemResult(name, metrics))
        if name in others:
            systems[-1] = _against(
                systems[0],
                systems[-1],
                sum(
                    a != b for a, b in zip(translations[baseline], translations[name], strict=True)
                ),
                _interval(sums[name], sums[baseline], resamples),
            )
    return Comparison(
        test, samples, resamples, seed, len(lists[0]), signatures(found, label), systems
    )


def bleu_difference_interval(
    baseline: Sequence[str], other: Sequence[str], references: References
) -> tuple[float, float]:
    """The interval that holds 95 % of BLEU(other) - BLEU(baseline) in 1000 paired resamples."""
    system, first = (sentence_statistics(lines, references) for lines in (other, baseline))
    return _interval(system, first, RESAMPLES)


def _interval(system: np.ndarray, baseline: np.ndarray, resamples: int) -> tuple[float, float]:
    found = compare(system, baseline, resamples, seed_of_tests())
    return found.low, found.high


def _paired_test(
    translations: Mapping[str, Sequence[str]],
    references: list[list[str]],
    test: str,
    samples: int,
    label: Mapping[str, str] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Signatures, and for each metric a result of each system."""
    from sacrebleu.significance import PairedTest

    paired = PairedTest(
        [(name, list(lines)) for name, lines in translations.items()],
        make_metrics(references, label),
        references=None,
        test_type=test,
        n_samples=samples,
        # Intervals under approximate randomization, too.
        n_ar_confidence=RESAMPLES if test == "ar" else -1,
    )
    found, results = paired()
    return found, {name: column for name, column in results.items() if name != "System"}


def _result(result: Any) -> MetricResult:
    p_value = None if result.p_value is None else float(result.p_value)
    return MetricResult(float(result.score), float(result.mean), float(result.ci), p_value)


def _against(
    baseline: SystemResult, system: SystemResult, different: int, interval: tuple[float, float]
) -> SystemResult:
    metrics = system.metrics
    if different == 0:
        # sacreBLEU counts how often chance gives more than no difference at all: never.
        metrics = {n: MetricResult(r.score, r.mean, r.ci, 1.0) for n, r in metrics.items()}
    difference = metrics["BLEU"].score - baseline.metrics["BLEU"].score
    return SystemResult(system.name, metrics, different, difference, interval)


def seed_of_tests() -> int | None:
    """What `$SACREBLEU_SEED` says; None: another seed each time.

    Raises:
        ValueError: where it says neither a whole number nor "none".
    """
    text = os.environ.get("SACREBLEU_SEED", "12345").lower()
    if text == "none":
        return None
    if not text.isascii() or not text.isdigit():
        raise ValueError(f'SACREBLEU_SEED must be a whole number or "none"; it is {text!r}.')
    return int(text)
