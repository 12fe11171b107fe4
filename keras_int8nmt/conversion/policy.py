"""Which MatMul becomes INT8: a policy and the list of MatMuls in, an assignment out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.quantization import PRECISIONS

NAMED_POLICIES = ("int8", "paper", "float32")

Policy = str | Mapping[str, str] | Callable[[str], str] | None


@dataclass(frozen=True)
class ListedMatMul:
    """A MatMul that conversion finds in a model, as policies see it.

    Attributes:
        name: As in the conversion report.
        kind: "weights" or "dynamic" (QK^T and AV).
        sparse: Whether its input comes out of a ReLU.
        float_reason: Why it can only stay float; empty where INT8 is possible.
    """

    name: str
    kind: str = "weights"
    sparse: bool = False
    float_reason: str = ""


@dataclass(frozen=True)
class Choice:
    """ "int8" or "float32", and why; no reason where INT8 is simply the default."""

    precision: str
    reason: str = ""


_DEFAULT = Choice("int8")
_DEFAULT_OPTIONS = ConversionOptions()


class Assignment:
    """The choice for each MatMul by its name, and how INT8 is made where it is chosen.

    INT8 for every name that is not in `choices`.
    """

    def __init__(
        self,
        choices: Mapping[str, Choice] | None = None,
        options: ConversionOptions = _DEFAULT_OPTIONS,
    ) -> None:
        self.choices = dict(choices or {})
        self.options = options

    def __getitem__(self, name: str) -> Choice:
        return self.choices.get(name, _DEFAULT)

    def is_int8(self, *names: str) -> bool:
        """Whether all of `names` are INT8."""
        return all(self[name].precision == "int8" for name in names)

    def reads_codes(self, *names: str) -> bool:
        """Whether all of `names` are INT8 and read codes that others may write for them."""
        return not self.options.dynamic and self.is_int8(*names)

    @property
    def all_float(self) -> bool:
        """Whether nothing is INT8; the embeddings stay float then, too."""
        choices = self.choices.values()
        return bool(choices) and all(c.precision == "float32" for c in choices)


def assign(
    policy: Policy, matmuls: Iterable[ListedMatMul], options: ConversionOptions = _DEFAULT_OPTIONS
) -> Assignment:
    """What `policy` makes of each of `matmuls`.

    Args:
        policy: See `convert`.
        matmuls: Every MatMul of the model.
        options: Handed on.

    Raises:
        ValueError: for a policy, a name or a precision that is not known, with what was expected.
    """
    listed = {m.name: _possible(m, options) for m in matmuls}
    choose = _chooser(policy, listed)
    choices = {}
    for name, matmul in listed.items():
        if matmul.float_reason:
            choices[name] = Choice("float32", matmul.float_reason)
        else:
            choices[name] = choose(matmul)
    return Assignment(choices, options)


def _possible(matmul: ListedMatMul, options: ConversionOptions) -> ListedMatMul:
    """`matmul` with the reason why it can't be INT8 under these options."""
    if options.dynamic and matmul.kind == "dynamic":
        return replace(matmul, float_reason="dynamic scales, product of two tensors")
    return matmul


def _chooser(policy: Policy, listed: dict[str, ListedMatMul]) -> Callable[[ListedMatMul], Choice]:
    if policy is None or policy == "int8":
        return lambda matmul: _DEFAULT
    if policy == "float32":
        return lambda matmul: Choice("float32", "policy: float32")
    if policy == "paper":
        return _paper
    if isinstance(policy, Mapping):
        _check_mapping(policy, listed)
        named: Mapping[str, str] = policy
        return lambda m: Choice(named[m.name], "policy: by name") if m.name in named else _DEFAULT
    if callable(policy):
        function: Callable[[str], Any] = policy
        return lambda matmul: _called(function, matmul.name)
    raise ValueError(
        f"`policy` must be one of {', '.join(map(repr, NAMED_POLICIES))}, None, or a mapping or "
        f"function from the names of MatMuls to {' or '.join(map(repr, PRECISIONS))}; received "
        f"{policy!r}."
    )


def _paper(matmul: ListedMatMul) -> Choice:
    """As arXiv 1906.00532: MatMuls of sparse inputs and products of two tensors stay float."""
    if matmul.kind == "dynamic":
        return Choice("float32", "policy: paper, product of two tensors")
    if matmul.sparse:
        return Choice("float32", "policy: paper, sparse input")
    return Choice("int8", "policy: paper")


def _called(function: Callable[[str], Any], name: str) -> Choice:
    precision = function(name)
    if precision not in PRECISIONS:
        raise ValueError(
            f"The policy must return {' or '.join(map(repr, PRECISIONS))}; for {name!r} it "
            f"returned {precision!r}."
        )
    return Choice(precision, "policy: by function")


def _check_mapping(policy: Mapping[str, str], listed: dict[str, ListedMatMul]) -> None:
    unknown = [name for name in policy if name not in listed]
    if unknown:
        raise ValueError(
            f"The model has no MatMul {', '.join(map(repr, unknown))}; it has:\n  "
            + "\n  ".join(listed)
        )
    wrong = {name: value for name, value in policy.items() if value not in PRECISIONS}
    if wrong:
        given = ", ".join(f"{name!r}: {value!r}" for name, value in wrong.items())
        raise ValueError(
            f"The policy must name {' or '.join(map(repr, PRECISIONS))} for a MatMul; received "
            f"{given}."
        )
    for name, precision in policy.items():
        if precision == "int8" and listed[name].float_reason:
            raise ValueError(f"{name!r} can't become INT8: {listed[name].float_reason}.")
