"""Float and INT8 translations compared: scores with confidence intervals, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_int8nmt.evaluation.measure import Evaluation, evaluate
from keras_int8nmt.evaluation.significance import bleu_difference_interval

# sacreBLEU's own number of resamplings.
RESAMPLES = 1000
MOST_EXAMPLES = 30
_NAMES = {"BLEU": "BLEU", "chrF2": "chrF"}


@dataclass(frozen=True)
class Interval:
    """A corpus score and what sacreBLEU's bootstrap says of its certainty.

    Attributes:
        score: 0 to 100.
        mean: The mean over the resamplings.
        half_width: Half the width of their middle 95 %, which is shown as `mean +- half_width`.
    """

    score: float
    mean: float
    half_width: float


@dataclass(frozen=True)
class Metric:
    """One metric before and after.

    Attributes:
        name: "BLEU" or "chrF".
        signature: sacreBLEU's, with the resampling in it.
        before, after: The scores; `before` is None where there is nothing to compare with.
        p_value: Of the paired bootstrap: how likely a difference at least as large is by chance.
            1 where no output differs.
    """

    name: str
    signature: str
    before: Interval | None
    after: Interval
    p_value: float | None


@dataclass(frozen=True)
class Example:
    """A sentence whose translations differ; `line` counts from 1, chrF is of the sentence."""

    line: int
    source: str
    reference: str
    before: str
    after: str
    chrf_before: float
    chrf_after: float

    @property
    def change(self) -> float:
        """By how much chrF rose."""
        return self.chrf_after - self.chrf_before


@dataclass(frozen=True)
class Quality:
    """Translations of one test set before and after conversion.

    Attributes:
        sentences: How many there are.
        metrics: BLEU and chrF.
        differing: Outputs that are not the same; None, as the next four, where there is nothing
            to compare with.
        bleu_difference_interval: What holds 95 % of BLEU after - BLEU before in 1000 paired
            resamples.
        better, worse, level: Of those, how many have a higher, a lower and the same chrF after.
        examples: Those whose chrF changed most, at most `MOST_EXAMPLES`; then the ones whose
            translations have least in common.
        before, after: What `evaluate` measured, where it was used.
        search: The settings of the search, such as `beam_size`.
        source: The name of the test set.
    """

    sentences: int
    metrics: tuple[Metric, ...]
    differing: int | None = None
    bleu_difference_interval: tuple[float, float] | None = None
    better: int | None = None
    worse: int | None = None
    level: int | None = None
    examples: tuple[Example, ...] = ()
    before: Evaluation | None = None
    after: Evaluation | None = None
    search: dict[str, Any] | None = None
    source: str | None = None


def measure_quality(
    before: Any,
    after: Any,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    progress: Callable[[int], Any] | None = None,
    source: str | None = None,
) -> Quality:
    """Translates a test set with two translators and compares what they give.

    Args:
        before: The `Translator` of the float model; None where there is none.
        after: That of the converted model.
        sources: Sentences.
        references: Their translations.
        progress: Called with the number of sentences that were finished, of both.
        source: A name for the test set.

    Raises:
        ValueError: when there is no sentence, or not one reference for each.

    Example:

        >>> before, after = Translator(model, tokenizer), Translator(int8, tokenizer)
        >>> quality = measure_quality(before, after, sources, references)
        >>> quality.differing
        312
    """
    _check_counts(sources, references)
    first, texts = (
        (None, None) if before is None else evaluate(before, sources, references, progress)
    )
    second, new_texts = evaluate(after, sources, references, progress)
    compared = compare_translations(texts, new_texts, sources, references)
    options = ("beam_size", "batch_size", "max_length", "length_penalty", "path")
    return Quality(
        **{
            **vars(compared),
            "before": first,
            "after": second,
            "search": {name: getattr(after, name) for name in options},
            "source": source,
        }
    )


def compare_translations(
    before: Sequence[str] | None,
    after: Sequence[str],
    sources: Sequence[str],
    references: Sequence[str],
    most: int = MOST_EXAMPLES,
) -> Quality:
    """Compares two translations of the same sentences.

    Args:
        before: Translations before, one a sentence; None where there are none.
        after: Translations after.
        sources, references: The sentences and their references.
        most: Examples that are kept.

    Raises:
        ValueError: when there is no sentence, or not as many of everything.
    """
    _check_counts(sources, references)
    for texts in (before, after):
        if texts is not None and len(texts) != len(sources):
            raise ValueError(
                f"There must be one translation for each source; received {len(sources)} sources "
                f"and {len(texts)} translations."
            )
    metrics = _metrics(before, after, references)
    if before is None:
        return Quality(len(sources), metrics)
    found = _differences(before, after, sources, references)
    changes = [example.change for example, _ in found]
    # Equal changes: those that have least in common first.
    found.sort(key=lambda pair: (-abs(pair[0].change), pair[1], pair[0].line))
    return Quality(
        len(sources),
        metrics,
        differing=len(found),
        bleu_difference_interval=bleu_difference_interval(before, after, references),
        better=sum(c > 0 for c in changes),
        worse=sum(c < 0 for c in changes),
        level=sum(c == 0 for c in changes),
        examples=tuple(example for example, _ in found[:most]),
    )


def _check_counts(sources: Sequence[str], references: Sequence[str]) -> None:
    if len(sources) != len(references) or not sources:
        raise ValueError(
            "There must be sentences and one reference for each; received "
            f"{len(sources)} sources and {len(references)} references."
        )


def _metrics(
    before: Sequence[str] | None, after: Sequence[str], references: Sequence[str]
) -> tuple[Metric, ...]:
    from sacrebleu.metrics import BLEU, CHRF
    from sacrebleu.significance import PairedTest

    systems = [("after", list(after))]
    if before is not None:
        systems.insert(0, ("before", list(before)))
    test = PairedTest(
        systems,
        {"BLEU": BLEU(), "chrF2": CHRF()},
        references=[list(references)],
        test_type="bs",
        n_samples=RESAMPLES,
    )
    signatures, scores = test()
    same = before is not None and list(before) == list(after)
    found = []
    for key, name in _NAMES.items():
        *others, last = scores[key]
        p_value = None
        if before is not None:
            # The resampled differences are all 0 then, which the test's formula does not foresee.
            p_value = 1.0 if same else float(last.p_value)
        found.append(
            Metric(
                name,
                str(signatures[key]),
                _interval(others[0]) if others else None,
                _interval(last),
                p_value,
            )
        )
    return tuple(found)


def _interval(result: Any) -> Interval:
    return Interval(float(result.score), float(result.mean), float(result.ci))


def _differences(
    before: Sequence[str],
    after: Sequence[str],
    sources: Sequence[str],
    references: Sequence[str],
) -> list[tuple[Example, float]]:
    """Each sentence whose translations differ, with the chrF of one against the other."""
    from sacrebleu.metrics import CHRF

    chrf = CHRF()

    def score(hypothesis: str, reference: str) -> float:
        return float(chrf.sentence_score(hypothesis, [reference]).score)

    found = []
    columns = zip(before, after, sources, references, strict=True)
    for line, (old, new, source, reference) in enumerate(columns, 1):
        if old != new:
            scores = score(old, reference), score(new, reference)
            found.append((Example(line, source, reference, old, new, *scores), score(new, old)))
    return found
