"""What `bench translate` may be asked for; checked before anything heavy is imported."""

from __future__ import annotations

from typing import Any

from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.client import available_cores
from keras_int8nmt.bench.translation.engines import ENGINES
from keras_int8nmt.bench.translation.isa import ISAS
from keras_int8nmt.bench.translation.models import MODELS


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `run_translate` from those of the command line, where cases are names.

    Raises:
        BenchError: for what is not a case, an engine or a model, or can't run on so few cores.
    """
    try:
        cases = [Case.parse(name) for name in options.get("cases", ())]
    except ValueError as error:
        raise BenchError(str(error)) from error
    cores = len(available_cores())
    for case in cases:
        if case.streams > cores:
            raise BenchError(f"{str(case)!r} has more streams than there are cores, {cores}.")
        if case.model not in MODELS:
            raise BenchError(f"There is no model {case.model!r}; choose of {', '.join(MODELS)}.")
        if not case.forced and case.model != "tiny":
            raise BenchError(f"{str(case)!r}: only the model tiny knows real sentences.")
    if options.get("isa", ISAS[0]) not in ISAS:
        raise BenchError(f"--isa {options['isa']}: choose of {', '.join(ISAS)}.")
    for name in options.get("engines", ()):
        if name not in ENGINES:
            raise BenchError(f"There is no engine {name!r}; choose of {', '.join(ENGINES)}.")
    return {**options, "cases": cases}
