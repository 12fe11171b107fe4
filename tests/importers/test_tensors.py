"""Tensors of a checkpoint: read when they are taken, each once, and what is told of wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from keras_int8nmt.importers.tensors import Entry, Tensors, check_sizes, float32_of


class ToyError(ValueError):
    pass


def entry(value, dtype="float32"):
    value = np.asarray(value)
    return Entry(value.shape, dtype, lambda: value)


def tensors(**values):
    return Tensors({name: entry(value) for name, value in values.items()}, "toy.bin", ToyError)


def test_a_tensor_is_read_when_it_is_taken_and_never_again():
    reads = []
    lazy = Entry((2,), "float16", lambda: reads.append(1) or np.array([1, 2], "f2"))
    some = Tensors({"a": lazy}, "toy.bin", ToyError)
    assert "a" in some
    assert (len(some), some.longest, some.elements, some.dtypes) == (1, 2, 2, ("float16",))
    assert not reads
    value = some.take("a", (2,))
    assert value.dtype == np.float32
    assert value.tolist() == [1, 2]
    assert reads == [1]
    some.check_all_taken()
    with pytest.raises(ToyError, match=r"toy\.bin has no tensor 'a'"):
        some.take("a", (2,))


def test_what_is_left_is_named():
    some = tensors(a=np.ones(1), b=np.ones(2))
    some.drop("a")
    with pytest.raises(ToyError, match=r"toy\.bin has 1 tensors that config\.json .*: b\."):
        some.check_all_taken()


def test_a_tensor_of_another_shape_stays_unread():
    some = tensors(a=np.ones((2, 3)))
    with pytest.raises(ToyError, match=r"'a' of toy\.bin .*\(2, 3\); config\.json wants \(3, 2\)"):
        some.take("a", (3, 2))
    assert some.take("a", (2, 3)).shape == (2, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_float32_has_not_is_refused(value):
    with pytest.raises(ToyError, match=r"'a' of toy\.bin has values that are NaN or infinite"):
        tensors(a=np.array([value])).take("a", (1,))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_bytes_become_their_floats(dtype):
    values = np.array([0.5, -3, 65504], dtype)
    assert float32_of(
        values.astype(np.dtype(dtype).newbyteorder("<")).tobytes(), dtype
    ).tolist() == [
        0.5,
        -3,
        65504,
    ]


def test_bfloat16_is_the_upper_half_of_float32():
    values = np.array([1, -2.5, 3e38, 2**-130], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    got = float32_of(halves.tobytes(), "bfloat16")
    assert np.array_equal(got.view(np.uint32), values.view(np.uint32) & 0xFFFF0000)


SETTINGS = {
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "source_vocabulary_size": 50,
    "target_vocabulary_size": 50,
    "model_dim": 8,
    "ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_length": 64,
}


OTHERS = {f"t{i}": np.ones(0) for i in range(7)}


def test_a_model_has_no_more_weights_than_its_tensors():
    enough = 50 * 8 + 12 * 64 + 4 * 8 * 16
    check_sizes(SETTINGS, tensors(a=np.ones(enough), **OTHERS))
    with pytest.raises(ToyError, match=r"of 1680 weights or more; toy\.bin has 1679"):
        check_sizes(SETTINGS, tensors(a=np.ones(enough - 1), **OTHERS))


def test_a_model_has_no_more_layers_than_its_tensors_make():
    with pytest.raises(ToyError, match=r"num_decoder_layers is 2; .* it can be 1 at most"):
        check_sizes({**SETTINGS, "num_decoder_layers": 2}, tensors(a=np.ones(5000), **OTHERS))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_size_that_is_too_large_is_named(name):
    with pytest.raises(ToyError, match=f"whose {name} is {1 << 30}"):
        check_sizes({**SETTINGS, name: 1 << 30}, tensors(a=np.ones(5000), **OTHERS))
