"""Operations and bytes of a token, and rows from results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_int8nmt.bench.timing import row
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.rounds import Result

FORMULA = (
    "Operations of a target token: 2 x the multiplications of MatMuls with weights. Decoder: beam "
    "x (layers x (6 d^2 + 2 d f) + d V); encoder, and the keys and values of cross-attention: "
    "source / target tokens x (layers x (4 d^2 + 2 d f) + decoder layers x 2 d^2). Peak: the bare "
    "INT8 loop of the instruction set in force on one core x streams; - where it has none. "
    "GB/s at batch 1: the decoder's weights, read once a step."
)
# Ours: the layer path where there is no fast path.
_OURS = ("int8-fast", "int8-layers")


def decoder_weights(settings: dict[str, Any]) -> int:
    """Weights that a step multiplies one row by."""
    d, f = settings["model_dim"], settings["decoder_ffn_dim"]
    layers = settings["num_decoder_layers"] * (6 * d * d + 2 * d * f)
    return layers + d * settings["target_vocabulary_size"]


def encoder_weights(settings: dict[str, Any]) -> int:
    """Weights that a source token is multiplied by, those of cross-attention included."""
    d, f = settings["model_dim"], settings["ffn_dim"]
    encoder = settings["num_encoder_layers"] * (4 * d * d + 2 * d * f)
    return encoder + settings["num_decoder_layers"] * 2 * d * d


def operations_per_token(settings: dict[str, Any], case: Case) -> float:
    """Operations (a multiplication and an addition are two) of a target token; see `FORMULA`."""
    ratio = case.source_tokens / case.target_tokens
    return 2.0 * (case.beam * decoder_weights(settings) + ratio * encoder_weights(settings))


def percent_of_peak(
    speed: float, settings: dict[str, Any], case: Case, peak: float | None
) -> float | None:
    """Share of the INT8 peak of the case's cores; `peak`: GOP/s of one core. None without one."""
    if not peak:
        return None
    return 100.0 * speed * operations_per_token(settings, case) / (peak * 1e9 * case.streams)


def gigabytes_per_second(speed: float, settings: dict[str, Any], bytes_each: int) -> float:
    """Weights read at batch 1, where each token of the result is a step of its stream."""
    return speed * decoder_weights(settings) * bytes_each / 1e9


def ours_of(results: Mapping[str, Result]) -> str:
    """The engine that others are compared with; without a figure of ours the first of all."""
    ran = [name for name in _OURS if name in results and results[name].reason is None]
    return ran[0] if ran else next(iter(results))


def compare(
    ours: str, peer: str, case: Case, results: Mapping[str, Result], figures: dict[str, Any]
) -> dict[str, Any]:
    """The row `ours` against `peer`; without a speed of either it has a reason instead of a ratio.

    Args:
        ours, peer: Names of engines, both in `results`.
        case: The case.
        results: By engine.
        figures: More of the row.
    """
    first, second = results[ours], results[peer]
    name = f"{ours} vs {peer}"
    extra = {
        "settings": {"ours": first.settings, "peer": second.settings},
        "turns": {"ours": len(first.seconds), "peer": len(second.seconds)},
        **figures,
    }
    reasons = {n: r.reason for n, r in ((ours, first), (peer, second)) if r.reason is not None}
    if reasons:
        return {
            "name": name,
            "case": str(case),
            "ours": first.speed if first.reason is None else None,
            "peer": second.speed if second.reason is None else None,
            "unit": "tokens/s",
            "ratio": None,
            "spread": None,
            "reason": "; ".join(f"{n}: {reason}" for n, reason in reasons.items()),
            **extra,
        }
    spread = max(first.spread, second.spread)
    made = row(
        name,
        str(case),
        first.speed,
        second.speed,
        "tokens/s",
        spread=spread,
        smaller_is_better=False,
    )
    return {**made, "ranges": {"ours": first.speeds, "peer": second.speeds}, **extra}


def figures_of(
    case: Case, result: Result, settings: dict[str, Any], peak: float | None, int8: bool
) -> dict[str, Any]:
    """Share of the peak and GB/s of one engine's result, where they have a meaning."""
    if result.reason is not None or not case.forced:
        return {}
    found: dict[str, Any] = {}
    if int8:
        found["percent_of_int8_peak"] = percent_of_peak(result.speed, settings, case, peak)
    if case.batch == 1:
        found["gb_per_second"] = gigabytes_per_second(result.speed, settings, 1 if int8 else 4)
    return found
