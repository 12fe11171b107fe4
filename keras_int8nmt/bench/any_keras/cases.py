"""The models that are measured, by name. To add one, add its factory and a row to `CASES`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_int8nmt.bench.errors import BenchError

_HERE = "keras_int8nmt.bench.any_keras"


@dataclass(frozen=True)
class Case:
    """A model, and how it is called.

    Attributes:
        factory: `module:function` that gives a `Subject`.
        settings: Its arguments.
        batches, threads: Each is measured with each.
        package: That must be installed; empty where none need be.
    """

    factory: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    batches: tuple[int, ...] = (1, 32)
    threads: tuple[int, ...] = (1, 2)
    package: str = ""

    def why_not(self) -> str | None:
        """Why it can't be measured here."""
        if not self.package or importlib.util.find_spec(self.package) is not None:
            return None
        return f"{self.package} is not installed"

    def make(self) -> Any:
        """The `Subject`; imports Keras."""
        module, _, name = self.factory.partition(":")
        return getattr(importlib.import_module(module), name)(**self.settings)


def _hub(name: str, **settings: Any) -> Case:
    return Case(f"{_HERE}.hub_models:{name}", settings, package="keras_hub")


_BASE = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072}
_NANO = {"features": 16, "widths": (32, 16)}

CASES: dict[str, Case] = {
    "mlp": Case(_HERE + ".plain_models:mlp"),
    "vision-transformer": Case(_HERE + ".plain_models:vision_transformer"),
    "keras-tutorial": Case(_HERE + ".keras_tutorial:keras_tutorial"),
    "tensorflow-tutorial": Case(_HERE + ".tensorflow_tutorial:tensorflow_tutorial"),
    "keras-hub-tutorial": _hub("hub_tutorial"),
    "bert": _hub("bert"),
    "bert-base": Case(
        _HERE + ".hub_models:bert",
        {"vocabulary": 30522, "length": 128, **_BASE},
        batches=(8,),
        threads=(2,),
        package="keras_hub",
    ),
    "distilbert": _hub("distil_bert"),
    "gpt2": _hub("gpt2"),
    "gpt2-generate": _hub("gpt2", length=32, new_tokens=16),
    "bart": _hub("bart"),
    "t5": _hub("t5"),
}
# Of no size that says anything; for tests.
NANO: dict[str, Case] = {
    "nano-mlp": Case(_HERE + ".plain_models:mlp", _NANO, batches=(1,), threads=(1,)),
    "nano-vision-transformer": Case(
        _HERE + ".plain_models:vision_transformer",
        {"image": 16, "patch": 8, "width": 16, "heads": 2, "blocks": 1},
        batches=(2,),
        threads=(1,),
    ),
}


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of the command line, or a BenchError that names what is not known."""
    from keras_int8nmt.bench.any_keras.engines import PEERS

    for kind, names, known in (
        ("model", options.get("cases", ()), {**CASES, **NANO}),
        ("engine", options.get("engines", ()), PEERS),
    ):
        for name in names:
            if name not in known:
                raise BenchError(f"There is no {kind} {name!r}; choose of {', '.join(known)}.")
    return options
