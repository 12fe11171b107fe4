"""What the command line does with policies: finds one, and converts by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_int8nmt.autotuning.candidates import CANDIDATES, find_candidates
from keras_int8nmt.autotuning.result import AutotuneResult, PolicyFileError, read_policy
from keras_int8nmt.autotuning.tune import autotune
from keras_int8nmt.conversion.converter import ConversionError, convert
from keras_int8nmt.conversion.policy import NAMED_POLICIES
from keras_int8nmt.files.lines import write_lines
from keras_int8nmt.thresholds.errors import CalibrationError


def tune(
    model: Any,
    tokenizer: Any,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    candidates: Sequence[str] | None,
    output: str,
    **options: Any,
) -> AutotuneResult:
    """`autotune` with progress bars; writes the policy.

    Raises:
        PolicyFileError: for a candidate that there is not.
    """
    try:
        chosen = CANDIDATES if candidates is None else find_candidates(dict.fromkeys(candidates))
    except ValueError as error:
        raise PolicyFileError(str(error)) from error
    result = autotune(
        model,
        sources,
        references,
        tokenizer=tokenizer,
        candidates=chosen,
        progress=True,
        **options,
    )
    write_lines(output, [result.to_json()])
    return result


def convert_by(model: Any, policy: str | None, **options: Any) -> tuple[Any, AutotuneResult | None]:
    """Converts by a policy's name, or by the file that holds one.

    Args:
        model: A calibrated model.
        policy: The name or file; None: all in INT8.
        **options: Of `convert`; those of a candidate that `autotune` chose win.

    Returns:
        The converted model, and the policy if `autotune` wrote it.

    Raises:
        PolicyFileError: when there is no such policy, or it is not of this model.
    """
    if policy is None or policy in NAMED_POLICIES:
        return convert(model, policy=policy, **options), None
    try:
        found = read_policy(policy)
    except FileNotFoundError as error:
        raise PolicyFileError(
            f"The policy {policy!r} is none of {', '.join(NAMED_POLICIES)}, and no file."
        ) from error
    try:
        if isinstance(found, AutotuneResult):
            return found.convert(model, **options), found
        return convert(model, policy=found, **options), None
    except (ConversionError, CalibrationError):
        raise
    except ValueError as error:
        raise PolicyFileError(f"{policy!r}: {error}") from error
