"""The ways to INT8 that are compared, alone and together: data, an entry each.

A recipe is the arguments that `calibrate` and `convert` are given. What has a function of its own
comes in by `prepare` (before calibration) or `make` (the whole way). Recipes that calibrate in the
same way stand one after the other, since the calibrated model is kept for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_int8nmt.bench.accuracy.corpora import Pairs
from keras_int8nmt.bench.accuracy.models import BenchModel
from keras_int8nmt.calibrating import DEFAULT_MODE, calibrate
from keras_int8nmt.conversion import convert
from keras_int8nmt.plain_model import plain_model

FLOAT = "float32"


@dataclass(frozen=True)
class Recipe:
    """One row of the table.

    Attributes:
        name: What it is called, in the table and on the command line.
        calibrate: Arguments of `calibrate`, beyond model, tokenizer and sentences.
        convert: Arguments of `convert`, beyond the model.
        prepare: What is done to the float model first, `prepare(model, material)`; it gives the
            model that goes on.
        make: In place of all that: `make(material)` gives the finished model.
        may_be_default: Whether the default is chosen among such recipes, which are one method each.
            The best of all is chosen among those without a float MatMul.
    """

    name: str
    calibrate: Mapping[str, Any] = field(default_factory=dict)
    convert: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Any, Material], Any] | None = None
    make: Callable[[Material], Any] | None = None
    may_be_default: bool = False

    @property
    def mode(self) -> str:
        """How its thresholds are chosen."""
        return str(self.calibrate.get("mode", DEFAULT_MODE))

    def identity(self) -> dict[str, Any]:
        """What it does, as JSON: a result counts for an equal one only."""
        functions = {"prepare": self.prepare, "make": self.make}
        return {
            "calibrate": dict(self.calibrate),
            "convert": dict(self.convert),
            **{key: f"{f.__module__}.{f.__qualname__}" for key, f in functions.items() if f},
        }


class Material:
    """What recipes are made of: a model and the sentences it is calibrated on.

    Args:
        model: The model.
        sentences: For calibration.
        valid: Reads what recipes that measure by themselves may choose on.
    """

    def __init__(
        self, model: BenchModel, sentences: Sequence[str], valid: Callable[[], Pairs]
    ) -> None:
        self.model, self.sentences, self.valid = model, list(sentences), valid
        self.tokenizer = model.tokenizer
        self._last: tuple[Any, Any] | None = None

    def float_model(self) -> Any:
        """The float model anew, with observers."""
        return self.model.load()

    def calibrated(self, recipe: Recipe) -> Any:
        """The calibrated model of a recipe, only to be read."""
        key = {k: v for k, v in recipe.identity().items() if k != "convert"}
        if self._last is None or self._last[0] != key:
            self._last = None
            model = self.float_model()
            if recipe.prepare is not None:
                model = recipe.prepare(model, self)
            calibrate(model, self.tokenizer, self.sentences, progress=True, **recipe.calibrate)
            self._last = key, model
        return self._last[1]


def make_model(recipe: Recipe, material: Material) -> Any:
    """The finished model of a recipe."""
    if recipe.make is not None:
        return recipe.make(material)
    return convert(material.calibrated(recipe), **recipe.convert)


def _float(material: Material) -> Any:
    return plain_model(material.float_model())


_PAPER = {"policy": "paper"}


def _by_mode(mode: str) -> list[Recipe]:
    chosen = {"mode": mode}
    return [
        Recipe(mode, calibrate=chosen, may_be_default=True),
        Recipe(f"{mode}, policy paper", calibrate=chosen, convert=_PAPER),
    ]


RECIPES: tuple[Recipe, ...] = (
    Recipe(FLOAT, make=_float),
    *_by_mode("symmetric"),
    *_by_mode("naive"),
    *_by_mode("independent"),
    *_by_mode("conjugate"),
)
