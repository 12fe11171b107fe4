"""How good and how fast a translator is: BLEU, chrF, TER, tokens a second, memory."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt import native
from keras_int8nmt.evaluation.metrics import References, make_metrics, reference_lists, signatures


class Scores(NamedTuple):
    """Corpus scores by sacreBLEU, from 0 on; up to 100 but for TER, of which less is better.

    `signature` names the settings of BLEU and chrF in one text, `signatures` those of each metric
    by its name: "BLEU", "chrF2" and "TER".
    """

    bleu: float
    chrf: float
    signature: str
    ter: float
    signatures: dict[str, str]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured; the fields are the keys of its JSON.

    Attributes:
        bleu, chrf: Corpus scores, 0 to 100.
        signature: sacreBLEU's signatures of both, in one text.
        sentences: Sentences translated.
        target_tokens: Tokens of the best hypotheses, end tokens included.
        seconds: Time of translating; loading and a first batch to warm up are not in it.
        tokens_per_second: `target_tokens / seconds`.
        peak_rss_mb: The largest resident size of this process, in 10^6 bytes, since it began or
            since `reset_peak_rss`.
        precision: "int8", "float32" or "mixed".
        gemm: What multiplies matrices: a back end of the native library, or "tensorflow".
        ter: Translation edit rate in per cent; less is better. NaN where it was not measured.
        signatures: sacreBLEU's signature of "BLEU", "chrF2" and "TER".
    """

    bleu: float
    chrf: float
    signature: str
    sentences: int
    target_tokens: int
    seconds: float
    tokens_per_second: float
    peak_rss_mb: float
    precision: str
    gemm: str
    ter: float = float("nan")
    signatures: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Timed(NamedTuple):
    """Translations, and what they cost."""

    texts: list[str]
    target_tokens: int
    seconds: float


def score(
    hypotheses: Sequence[str], references: References, label: Mapping[str, str] | None = None
) -> Scores:
    """BLEU, chrF and TER of translations.

    Args:
        hypotheses: Translations.
        references: One for each of them, or several lists of such.
        label: Entries for the signatures, see `metrics.signatures`.

    Raises:
        ValueError: when there are no sentences, or not as many of both.
    """
    lists = reference_lists(references)
    if len(hypotheses) != len(lists[0]):
        raise ValueError(
            f"There must be one reference for each translation; received {len(hypotheses)} "
            f"translations and {len(lists[0])} references."
        )
    metrics = make_metrics(lists, label)
    scores = {n: float(m.corpus_score(list(hypotheses), None).score) for n, m in metrics.items()}
    # Signatures last: they are complete only after scoring.
    texts = signatures(metrics, label)
    return Scores(
        bleu=scores["BLEU"],
        chrf=scores["chrF2"],
        signature=" ".join(f"{name}|{texts[name]}" for name in ("BLEU", "chrF2")),
        ter=scores["TER"],
        signatures=texts,
    )


def translate_timed(
    translator: Any, sources: Sequence[str], progress: Callable[[int], Any] | None = None
) -> Timed:
    """Translates twice: a first batch, not timed, in which graphs are made; then all, timed."""
    longest = sorted(sources, key=len)[-translator.batch_size :]
    translator.translate(longest)
    start = time.perf_counter()
    results = translator.translate(list(sources), progress=progress)
    seconds = time.perf_counter() - start
    best = [result.hypotheses[0] for result in results]
    return Timed([h.text for h in best], sum(len(h.tokens) for h in best), seconds)


def evaluate(
    translator: Any,
    sources: Sequence[str],
    references: References,
    progress: Callable[[int], Any] | None = None,
    label: Mapping[str, str] | None = None,
) -> tuple[Evaluation, list[str]]:
    """Translates `sources` and compares with `references`.

    Args:
        translator: A `Translator`.
        sources: Sentences.
        references: Their translations, one for each, or several lists of such.
        progress: Handed to `Translator.translate`.
        label: Entries for the signatures, see `metrics.signatures`.

    Returns:
        The figures and the translations.

    Example:

        >>> figures, texts = evaluate(Translator(int8, tokenizer), sources, references)
        >>> figures.bleu
        32.7
    """
    lists = reference_lists(references)
    if len(sources) != len(lists[0]):
        raise ValueError(
            f"There must be one reference for each source; received {len(sources)} sources and "
            f"{len(lists[0])} references."
        )
    timed = translate_timed(translator, sources, progress)
    scores = score(timed.texts, lists, label)
    figures = Evaluation(
        **scores._asdict(),
        sentences=len(sources),
        target_tokens=timed.target_tokens,
        seconds=timed.seconds,
        tokens_per_second=timed.target_tokens / timed.seconds,
        peak_rss_mb=peak_rss_mb(),
        precision=precision_of(translator),
        gemm=gemm_of(translator),
    )
    return figures, timed.texts


def precision_of(translator: Any) -> str:
    """What the model of a translator says: "int8", "float32", or "mixed" where some stayed float.

    A model that says nothing of its precision is a float one.
    """
    return str(getattr(translator.model, "precision", "float32"))


def gemm_of(translator: Any) -> str:
    """What multiplies the matrices of a translator's model."""
    if precision_of(translator) == "float32":
        # The native decoder has a back end for float32 beside that for INT8.
        name = native.info().get("float_gemm") if translator.path == "fast" else None
        return str(name or "tensorflow")
    return str(native.info().get("gemm", "tensorflow"))


def reset_peak_rss() -> None:
    """The peak counts from now on, where the system can do that (Linux); see `peak_rss_mb`."""
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_rss_mb() -> float:
    """The largest resident size of this process since it began or since `reset_peak_rss`, in MB.

    What was freed before and is kept by the allocator still counts.
    """
    # Not getrusage where /proc is: there a child inherits the peak of its parent.
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6
