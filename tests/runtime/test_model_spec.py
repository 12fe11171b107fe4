"""`ModelSpec`: named settings and tensors, made of the parts of a model."""

import numpy as np
import pytest

from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import FORMAT_VERSION, ModelSpec
from keras_int8nmt.runtime.spec_parts import codes, float_product, written


def test_parts_are_joined_by_dots_and_the_version_is_a_setting():
    parts = {"a": 3, "b": {"c": 0.5, "weights": np.zeros(2, np.float32), "d": {"e": "relu"}}}
    spec = ModelSpec.of(parts)
    expected = {"format_version": FORMAT_VERSION, "a": 3, "b.c": 0.5, "b.d.e": "relu"}
    assert dict(spec.settings) == expected
    assert list(spec.tensors) == spec.weights == ["b.weights"]


@pytest.mark.parametrize("value", [True, None, np.float32(1), (1, 2)])
def test_settings_of_other_types_are_refused_by_name(value):
    with pytest.raises(TypeError, match=r"The setting a\.b is .*; expected int, float or str"):
        ModelSpec.of({"a": {"b": value}})


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros(3), "no array of float32, int8, uint8"),
        ([1, 2], "no array of float32, int8, uint8"),
        (np.zeros((3, 2), np.int8).T, "not C-contiguous"),
        (np.zeros((0, 2), np.int8), "not C-contiguous, or has no elements"),
    ],
)
def test_tensors_of_other_kinds_are_refused_by_name(tensor, message):
    with pytest.raises(TypeError, match=rf"The tensor a\.b is {message}"):
        ModelSpec({}, {"a.b": tensor})


def test_float32_scales_keep_their_bits():
    params = QuantParams(np.float32(0.1), 3, "uint8")
    part = codes(params)
    assert part == {"type": "uint8", "zero_point": 3, "scale": float(np.float32(0.1))}
    assert written(params, 1.0)["scale"] == 1.0
    assert written(None) == {"type": "float32"}


def test_a_plain_float_product_is_its_kernel():
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2).T
    part = float_product(kernel, None, packed=False, activation="relu")
    assert (part["rows"], part["columns"], part["activation"]) == (2, 3, "relu")
    np.testing.assert_array_equal(part["weights"], kernel)
    np.testing.assert_array_equal(part["bias"], np.zeros(3, np.float32))
    assert ModelSpec.of({"x": part}, packed=False).weights == ["x.weights"]
