"""What a report shows: tensors with their histograms and thresholds, MatMuls, and what is missing.

Only collected here; `html` and `figures` draw it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from keras_int8nmt import native
from keras_int8nmt.conversion.report import MatMulRow, Multiplications
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.report.quality import Quality
from keras_int8nmt.runtime.gemm_cache import cpu_name
from keras_int8nmt.thresholds.distribution import classify, clipped_mass, sqnr_db
from keras_int8nmt.thresholds.histogram import HALF, Histogram

# Most bars of a histogram: what a picture of a few hundred pixels can show.
MOST_BARS = 160


@dataclass(frozen=True)
class Bars:
    """A histogram reduced to at most `MOST_BARS` equal bars; zero is always an edge.

    Attributes:
        left: The left edge of the first bar.
        width: The width of a bar.
        counts: How many values each bar holds; they add up to all that were seen.
    """

    left: float
    width: float
    counts: tuple[int, ...]

    @property
    def right(self) -> float:
        """The right edge of the last bar."""
        return self.left + self.width * len(self.counts)


@dataclass(frozen=True)
class Tensor:
    """A calibrated tensor.

    Attributes:
        path: The path of its observer.
        low, high: Its thresholds.
        code: What it is quantized to, "int8" or "uint8".
        zero_point: The code of 0.0.
        kind: "sparse", "narrow" or "gaussian" (`calibration.classify`). None, like the figures
            below, where the histogram was not kept.
        values: How many values were seen.
        minimum, maximum: The smallest and the largest of them.
        clipped_mass: Share of the values outside the thresholds.
        sqnr_db: Signal to quantization noise, from the histogram; infinity without noise.
        bars: The histogram.
    """

    path: str
    low: float
    high: float
    code: str
    zero_point: int
    values: int = 0
    kind: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    clipped_mass: float | None = None
    sqnr_db: float | None = None
    bars: Bars | None = None


@dataclass(frozen=True)
class Machine:
    """Where a report was made.

    Attributes:
        cpu: The name of the CPU.
        cores: How many this process may use.
        isa: The instruction set of INT8 products, such as "avx512_vnni"; None without the native
            library.
        gemm: What multiplies INT8 matrices: a back end, or "tensorflow".
    """

    cpu: str
    cores: int
    isa: str | None
    gemm: str


@dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes:
        title: The model's name.
        state: "calibrated" or "converted".
        precision: What conversion gives: "int8", "float32", "mixed", or "unknown" without rows.
        facts: What the model card tells: `thresholds_mode`, `data`, `keras_int8nmt_version`.
        tensors: Calibrated tensors, in the order of the model.
        unseen: Paths of the observers without thresholds, which share those of another one.
        matmuls: The rows of the conversion report.
        quality: Float and INT8 translations compared.
        missing: What the report can't show, and how to come by it; a sentence each.
        weight_bits: Of INT8 weights, 8 or 7; None without a conversion report.
        multiplications: How many are in INT8, where conversion counted them.
        float_bytes, int8_bytes: Of all weights, as they are saved, before and after conversion;
            the first is None for a converted model.
        machine: Where the report was made.
    """

    title: str
    state: str
    precision: str
    facts: Mapping[str, Any]
    tensors: tuple[Tensor, ...] = ()
    unseen: tuple[str, ...] = ()
    matmuls: tuple[MatMulRow, ...] = ()
    quality: Quality | None = None
    missing: tuple[str, ...] = field(default=())
    weight_bits: int | None = None
    multiplications: Multiplications | None = None
    float_bytes: int | None = None
    int8_bytes: int | None = None
    machine: Machine | None = None

    def to_dict(self) -> dict[str, Any]:
        """As values of JSON; figures that are infinite or not a number become None."""
        return _plain(asdict(self))


def collect(
    model: Any,
    *,
    converted: Any = None,
    quality: Quality | None = None,
    card: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> ReportData:
    """What there is to report of a model.

    Args:
        model: A calibrated or a converted model.
        converted: What conversion made of a calibrated `model`; by default `convert(model)`.
        quality: From `measure_quality`.
        card: The model card, as `load_folder` gives it.
        title: A name for the model; by default its own.

    Returns:
        `ReportData`. Nothing is changed in `model`.

    Raises:
        ValueError: when the model is neither calibrated nor converted, or when `converted` was not
            made of it.
    """
    from keras_int8nmt.storage.state import state_of

    state = state_of(model)
    if state == "float":
        raise ValueError(f"Model {model.name!r} is neither calibrated nor converted.")
    keys = ("thresholds_mode", "data", "keras_int8nmt_version")
    facts = {key: card[key] for key in keys if card and key in card}
    missing = []
    tensors: tuple[Tensor, ...] = ()
    unseen: tuple[str, ...] = ()
    if state == "converted":
        if converted is not None:
            raise ValueError("`converted` is for a calibrated model; this one is converted itself.")
        result = model
        missing.append(
            "Histograms and the classes of tensors: a converted model keeps its thresholds only. "
            "The report of the calibrated model that it was made of has them."
        )
    else:
        tensors, unseen = _tensors(model)
        result = converted if converted is not None else _converted(model)
        check_made_of(model, result)
        kept = sum(t.bars is not None for t in tensors)
        if kept < len(tensors):
            missing.append(
                f"Histograms of {len(tensors) - kept} of {len(tensors)} tensors: they were reset "
                "after calibration."
            )
    rows = _with_reasons_of(model, _rows(result, missing))
    told = result.conversion_report
    missing.extend(_missing_figures(rows, state, quality))
    return ReportData(
        title=title or model.name,
        state=state,
        precision=_precision(result),
        facts=facts,
        tensors=tensors,
        unseen=unseen,
        matmuls=rows,
        quality=quality,
        missing=tuple(missing),
        weight_bits=None if told is None else told.weight_bits,
        multiplications=None if told is None else told.multiplications,
        float_bytes=None if state == "converted" else _float_bytes(model),
        int8_bytes=_saved_bytes(result.weights),
        machine=this_machine(),
    )


def this_machine() -> Machine:
    """What a model would run on here."""
    found = native.info()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    isa, gemm = found.get("isa"), found.get("gemm", "tensorflow")
    return Machine(cpu_name(), cores or 1, isa, gemm)


def _float_bytes(model: Any) -> int:
    """Of a calibrated model without what its observers keep."""
    from keras_int8nmt.layers.model_state import observers

    kept = {id(weight) for _, observer in observers(model) for weight in observer.weights}
    return _saved_bytes(weight for weight in model.weights if id(weight) not in kept)


def _saved_bytes(weights: Iterable[Any]) -> int:
    """Of weights, those of converted layers in the plain form in which they are saved."""
    return sum(math.prod(w.shape) * np.dtype(str(w.dtype)).itemsize for w in weights)


def reduce_histogram(histogram: Histogram, most: int = MOST_BARS) -> Bars:
    """The occupied part of a histogram as at most `most` bars of equal width.

    Raises:
        ValueError: when nothing was counted, or for less than two bars.
    """
    occupied = np.flatnonzero(histogram.counts)
    if occupied.size == 0 or most < 2:
        raise ValueError(f"Needs counts and at least two bars; received {most}.")
    # In bins from zero, where a bar must end; so both sides are rounded outwards.
    first, last = int(occupied[0]) - HALF, int(occupied[-1]) + 1 - HALF
    first, last = min(first, 0), max(last, 0)
    step = math.ceil((last - first) / most)
    while math.ceil(-first / step) + math.ceil(last / step) > most:
        step += 1
    left, right = math.ceil(-first / step), math.ceil(last / step)
    bars = (np.arange(-HALF, HALF) // step) + left
    kept = (bars >= 0) & (bars < left + right)
    counts = np.bincount(bars[kept], weights=histogram.counts[kept], minlength=left + right)
    width = step * histogram.width
    return Bars(-left * width, width, tuple(int(c) for c in counts))


def describe_tensor(
    path: str, histogram: Histogram, thresholds: tuple[float, float], params: QuantParams
) -> Tensor:
    """The figures of one tensor."""
    low, high = thresholds
    tensor = Tensor(path, low, high, params.dtype, params.zero_point)
    if histogram.total == 0:
        return tensor
    return Tensor(
        path,
        low,
        high,
        params.dtype,
        params.zero_point,
        values=histogram.total,
        kind=classify(histogram),
        minimum=histogram.minimum,
        maximum=histogram.maximum,
        clipped_mass=clipped_mass(histogram, low, high),
        sqnr_db=sqnr_db(histogram, params),
        bars=reduce_histogram(histogram),
    )


def _tensors(model: Any) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    from keras_int8nmt.layers.model_state import observers

    found, unseen = [], []
    for path, observer in observers(model):
        if observer.is_calibrated:
            low, high = (float(t) for t in observer.thresholds())
            histogram = observer.to_histogram()
            found.append(describe_tensor(path, histogram, (low, high), observer.params()))
        else:
            unseen.append(path)
    return tuple(found), tuple(unseen)


def _converted(model: Any) -> Any:
    from keras_int8nmt.conversion.converter import convert

    return convert(model)


def check_made_of(model: Any, converted: Any) -> None:
    """Raises ValueError where `converted` is not what conversion makes of `model`."""
    from keras_int8nmt.conversion.graph import graph_matmuls
    from keras_int8nmt.conversion.transformer import transformer_matmuls
    from keras_int8nmt.models.transformer import Transformer

    if not hasattr(converted, "conversion_report"):
        raise ValueError(f"Model {converted.name!r} is not converted.")
    if converted.conversion_report is None:
        return
    listed = transformer_matmuls if isinstance(model, Transformer) else graph_matmuls
    expected = {matmul.name for matmul in listed(model)}
    found = {row.name for row in converted.conversion_report.rows}
    if found != expected:
        other = sorted(found ^ expected)[0]
        raise ValueError(
            f"The converted model was not made of model {model.name!r}: only one of them has the "
            f"MatMul {other!r}."
        )


def _rows(result: Any, missing: list[str]) -> tuple[MatMulRow, ...]:
    if result.conversion_report is None:
        missing.append(
            "The table of MatMuls: the model was saved by Keras alone, without its conversion "
            "report. save_folder keeps it."
        )
        return ()
    return tuple(result.conversion_report.rows)


def _with_reasons_of(model: Any, rows: tuple[MatMulRow, ...]) -> tuple[MatMulRow, ...]:
    """The rows; of layers that `quantize_model` left as they were with what it said of them."""
    told = getattr(model, "quantization_report", None)
    if told is None:
        return rows
    left = {row.path: row.reason for row in told.left}

    def reason(row: MatMulRow) -> str:
        parts = row.name.split("/")
        paths = ("/".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((left[path] for path in paths if path in left), row.reason)

    return tuple(
        replace(row, reason=reason(row)) if row.precision != "int8" else row for row in rows
    )


def _missing_figures(rows: tuple[MatMulRow, ...], state: str, quality: Quality | None) -> list[str]:
    missing = []
    int8 = [row for row in rows if row.precision == "int8"]
    if int8 and all(row.output_sqnr_db is None for row in int8):
        missing.append(
            "The SQNR of the MatMuls' outputs: it is measured when convert() is given a sample."
        )
    if quality is None:
        missing.append(
            "Translation quality: give the sentences of a test set and their references (--src and "
            "--ref, or measure_quality)."
        )
    elif quality.differing is None and state == "converted":
        missing.append(
            "Float translations to compare with: a converted model has no float weights. The "
            "report of the calibrated model compares both."
        )
    return missing


def _precision(result: Any) -> str:
    from keras_int8nmt.storage.state import precision_of

    return precision_of(result)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
