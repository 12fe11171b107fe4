"""The ways to INT8 that are compared, alone and together: data, an entry each.

A recipe is the arguments that `calibrate` and `convert` are given. What has a function of its own
comes in by `prepare` (before calibration) or `make` (the whole way). Recipes that watch the same
model in the same way stand one after the other, since its histograms are kept for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_int8nmt.autotuning.candidates import balanced_candidate, find_candidates
from keras_int8nmt.autotuning.tune import autotune
from keras_int8nmt.bench.accuracy.corpora import Pairs
from keras_int8nmt.bench.accuracy.models import BenchModel
from keras_int8nmt.bench.translation.session import say
from keras_int8nmt.calibration.from_sentences import calibrate
from keras_int8nmt.calibration.smooth_quant import balance
from keras_int8nmt.conversion.converter import convert
from keras_int8nmt.layers.model_state import settle
from keras_int8nmt.models.plain import plain_model

FLOAT = "float32"
PAPER_MODE = "symmetric"
# Of autotune: the loss on validation that is good enough, and the thresholds to try.
TOLERANCE = 0.1
TUNED_MODES = ("symmetric", "independent", "conjugate", "naive", "mse")
# Arguments of `calibrate` that choose thresholds and leave the histograms as they are.
_OF_HISTOGRAMS = ("mode", "unsigned")


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
        """How its thresholds are chosen; by itself as the paper does."""
        return str(self.calibrate.get("mode", PAPER_MODE))

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
        """The calibrated model of a recipe, only to be read, until that of another is asked for.

        Recipes that choose thresholds of the same histograms share them.
        """
        how = dict(recipe.calibrate)
        chosen = {name: how.pop(name) for name in _OF_HISTOGRAMS if name in how}
        key = {**recipe.identity(), "calibrate": how, "convert": None}
        if self._last is None or self._last[0] != key:
            self._last = None
            model = self.float_model()
            if recipe.prepare is not None:
                model = recipe.prepare(model, self)
            how = {"mode": recipe.mode, **recipe.calibrate}
            calibrate(model, self.tokenizer, self.sentences, progress=True, **how)
            self._last = key, model
        else:
            settle(self._last[1], **{"mode": recipe.mode, **chosen})
        return self._last[1]


def make_model(recipe: Recipe, material: Material) -> Any:
    """The finished model of a recipe."""
    if recipe.make is not None:
        return recipe.make(material)
    return convert(material.calibrated(recipe), **recipe.convert)


def _float(material: Material) -> Any:
    return plain_model(material.float_model())


def _balanced(model: Any, material: Material) -> Any:
    calibrate(model, material.tokenizer, material.sentences, progress=True)
    return balance(model)


def _autotuned(material: Material) -> Any:
    """Every mode of thresholds with and without balance and bias correction, on validation."""
    valid = material.valid()
    balanced = balanced_candidate(material.tokenizer, material.sentences)
    model = material.calibrated(Recipe("", calibrate={"mode": PAPER_MODE}))
    result = autotune(
        model,
        valid.sources,
        valid.references,
        tokenizer=material.tokenizer,
        tolerance=TOLERANCE,
        modes=TUNED_MODES,
        candidates=(*find_candidates(("plain", "bias correction")), balanced),
        progress=True,
    )
    say(result.summary())
    return result.convert(model)


_PAPER = {"policy": "paper"}
_CORRECTED = {"bias_correction": True}
# The paper's weights and hidden layers: a scale a tensor, int8 after ReLU.
_PER_TENSOR = {"weights": "per_tensor"}


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
    Recipe("mse", calibrate={"mode": "mse"}, may_be_default=True),
    Recipe("percentile", calibrate={"mode": "percentile"}, may_be_default=True),
    Recipe("entropy", calibrate={"mode": "entropy"}, may_be_default=True),
    Recipe("int8 after ReLU", calibrate={"unsigned": False}),
    Recipe("weights per tensor", convert=_PER_TENSOR),
    Recipe(
        "as the paper: per tensor, int8 after ReLU, policy paper",
        calibrate={"unsigned": False},
        convert={**_PER_TENSOR, **_PAPER},
    ),
    Recipe("bias correction", convert=_CORRECTED),
    Recipe("independent, bias correction", calibrate={"mode": "independent"}, convert=_CORRECTED),
    Recipe("conjugate, bias correction", calibrate={"mode": "conjugate"}, convert=_CORRECTED),
    Recipe("7-bit weights", convert={"weight_bits": 7}),
    Recipe("dynamic scales", convert={"activations": "dynamic"}),
    Recipe("integer softmax", convert={"softmax": "integer"}),
    Recipe("integer LayerNorm", convert={"layer_norm": "integer"}),
    Recipe(
        "integer softmax and LayerNorm", convert={"softmax": "integer", "layer_norm": "integer"}
    ),
    Recipe("beam histograms", calibrate={"feed": "beam"}),
    Recipe(
        "beam histograms, conjugate, bias correction",
        calibrate={"feed": "beam", "mode": "conjugate"},
        convert=_CORRECTED,
    ),
    Recipe("balance", prepare=_balanced),
    Recipe("balance, bias correction", prepare=_balanced, convert=_CORRECTED),
    Recipe("balance, independent", prepare=_balanced, calibrate={"mode": "independent"}),
    Recipe(
        "balance, independent, bias correction",
        prepare=_balanced,
        calibrate={"mode": "independent"},
        convert=_CORRECTED,
    ),
    Recipe("balance, conjugate", prepare=_balanced, calibrate={"mode": "conjugate"}),
    Recipe("autotune", make=_autotuned),
)
