"""Conversions of one calibrated model, one after the other, which leave it as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keras_int8nmt.autotuning.candidates import Candidate
from keras_int8nmt.autotuning.search import Setting
from keras_int8nmt.conversion.converter import convert
from keras_int8nmt.layers.model_state import observer_values, settle


class Workbench:
    """Holds a model, and the last one that a candidate made of it; a context manager.

    Args:
        model: A calibrated model. Its thresholds change in between and are put back at the end.
        candidates: What settings speak of.
        unsigned: As in `settle`, where a setting has a mode.
    """

    def __init__(self, model: Any, candidates: Iterable[Candidate], unsigned: bool = True) -> None:
        self.model, self.unsigned = model, unsigned
        self.candidates = {candidate.name: candidate for candidate in candidates}
        # Choosing thresholds again takes seconds: they stay while the setting does.
        self._setting: Setting | None = None
        self._prepared: Any = None

    def __enter__(self) -> Workbench:
        self._kept = observer_values(self.model)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        self._setting = self._prepared = None

    def _restore(self) -> None:
        for weight, value in self._kept:
            weight.assign(value)

    def convert(self, setting: Setting, policy: Mapping[str, str]) -> Any:
        """The model of a setting, converted by `policy`; what that does not name is INT8."""
        if setting != self._setting:
            self._prepare(setting)
        options = dict(self.candidates[setting.candidate].convert_options)
        return convert(self._prepared, policy=policy, **options)

    def int8_matmuls(self, candidate: Candidate, first: Setting) -> tuple[list[str], set[str]]:
        """All MatMuls of the model, and those that are INT8 with a candidate.

        Args:
            candidate: Any of them. Preparing changes no names, so only its options are tried.
            first: A setting that may be converted in any case.
        """
        if first.candidate == candidate.name:
            converted = self.convert(first, {})
        else:
            converted = convert(self.model, policy={}, **candidate.convert_options)
        rows = converted.conversion_report.rows
        return [row.name for row in rows], {r.name for r in rows if r.precision == "int8"}

    def _prepare(self, setting: Setting) -> None:
        same = self._setting is not None and self._setting.candidate == setting.candidate
        prepared, self._setting = self._prepared, None
        if not same:
            self._prepared = prepared = None
            self._restore()
            prepare = self.candidates[setting.candidate].prepare
            prepared = self.model if prepare is None else prepare(self.model)
        if setting.mode is not None:
            settle(prepared, setting.mode, unsigned=self.unsigned)
        self._setting, self._prepared = setting, prepared
