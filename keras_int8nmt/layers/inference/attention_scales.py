"""Calibrated scales of a frozen attention, between the words of its config and its plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_int8nmt.layers.inference.attention_plan import AttentionPlan
from keras_int8nmt.layers.inference.frozen_layer import (
    optional_params,
    params_config,
    params_from_config,
)
from keras_int8nmt.layers.projections import ProjectionGroup
from keras_int8nmt.quantization import QuantParams

# `QuantParams`, or what `params_config` makes of them.
Params = QuantParams | dict[str, Any]


def read_scales(
    inputs: Mapping[str, Params], heads: Mapping[str, Params], context: Params
) -> dict[str, Any]:
    """`inputs`, `heads` and `context` of an `AttentionPlan`.

    Args:
        inputs: By the text of a `ProjectionGroup`.
        heads: By the names of projections.
        context: Of the output projection's input.
    """
    return {
        "inputs": {ProjectionGroup.parse(k): params_from_config(v) for k, v in inputs.items()},
        "heads": {name: params_from_config(params) for name, params in heads.items()},
        "context": params_from_config(context),
    }


def read_any_scales(
    inputs: Mapping[str, Params | None], heads: Mapping[str, Params], context: Params | None
) -> dict[str, Any]:
    """As `read_scales`; None and no heads where scales are dynamic."""
    return {
        "inputs": {ProjectionGroup.parse(k): optional_params(v) for k, v in inputs.items()},
        "heads": {name: params_from_config(params) for name, params in heads.items()},
        "context": optional_params(context),
    }


def scales_config(plan: AttentionPlan) -> dict[str, Any]:
    """The arguments of a layer that `read_scales` was given, as JSON values."""
    return {
        "input_params": {str(group): params_config(p) for group, p in plan.inputs.items()},
        "head_params": {name: params_config(params) for name, params in plan.heads.items()},
        "context_params": params_config(plan.context),
    }
