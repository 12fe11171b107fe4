"""`ops.translate`: every wrong input is refused with its name; no rows give empty results."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import build_transformer, native
from keras_int8nmt.ops.translate_op import settings_as_attributes, translate
from keras_int8nmt.runtime.model_spec import ModelSpec
from keras_int8nmt.runtime.search_options import SearchOptions

F32 = np.float32


@functools.cache
def tiny():
    """A float model of 20 and 30 words."""
    return build_transformer(
        source_vocabulary_size=20,
        target_vocabulary_size=30,
        num_encoder_layers=1,
        num_decoder_layers=1,
        model_dim=8,
        num_heads=2,
        ffn_dim=16,
        max_length=12,
    )


@functools.cache
def arguments():
    """Inputs and attributes of the raw op for the tiny model."""
    model = tiny()
    spec = model.spec()
    return {
        "source_ids": np.int32([[5, 6, model.eos_id], [7, model.eos_id, model.pad_id]]),
        "divisors": np.asarray(SearchOptions(beam_size=2, max_length=6).divisors()),
        "tensors": list(spec.tensors.values()),
        "tensor_names": list(spec.tensors),
        **settings_as_attributes(spec),
        "beam_size": 2,
    }


def for_the_function():
    """The same for `ops.translate`."""
    model = tiny()
    given = arguments()
    shared = {name: given[name] for name in ("source_ids", "divisors", "beam_size")}
    return {**shared, "spec": model.spec()}


@pytest.fixture
def raw():
    library = native.library()
    if library is None:
        pytest.skip(f"no native library: {native.reason()}")
    return library.keras_int8nmt_translate


def changed(values, place, value):
    values = list(values)
    values[place] = value
    return values


WRONG = [
    ("source_ids", np.int32([3, 4]), r"source_ids has shape \[2\]; expected \[batch, source len"),
    ("source_ids", np.zeros((2, 0), np.int32), r"source_ids has shape \[2, 0\]; expected at least"),
    ("source_ids", np.int32([[3, 20]]), r"source_ids has 20 at \[0, 1\]; expected 0 to 19"),
    ("source_ids", np.int32([[3, 4], [-1, 4]]), r"source_ids has -1 at \[1, 0\]; expected 0 to 19"),
    ("source_ids", np.full((2, 13), 3, np.int32), "source_ids has 13 tokens in row 0; .* most 12"),
    (
        "divisors",
        np.ones((2, 2), F32),
        r"divisors has shape \[2, 2\]; expected \[max_length \+ 1\]",
    ),
    ("divisors", np.ones(1, F32), r"divisors has shape \[1\]; expected .* 1 to 12"),
    ("divisors", np.ones(14, F32), r"divisors has shape \[14\]; expected .* 1 to 12"),
    ("divisors", F32([1, 1, 0]), "divisors has 0 at position 2; expected a finite number above 0"),
    ("divisors", F32([1, np.nan]), "divisors has nan at position 1; expected a finite number"),
    ("beam_size", 0, "beam_size is 0; expected 1 to 1024"),
    ("beam_size", 2**31, "beam_size is 2147483648; expected 1 to 1024"),
    ("num_hypotheses", 3, "num_hypotheses is 3; expected 1 to 2"),
    ("num_hypotheses", 0, "num_hypotheses is 0; expected 1 to 2"),
    ("min_length", -1, "min_length is -1; expected 0"),
    ("min_length", 7, "min_length is 7; expected 0 to 6"),
    ("batch_size", 0, "batch_size is 0; expected 1"),
    ("ints", [], r"ints has 0 values for \d+ names"),
    ("floats", lambda v: [*v, 1.0], r"floats has \d+ values for \d+ names"),
    ("texts", lambda v: v[1:], r"texts has \d+ values for \d+ names"),
    ("int_names", lambda v: changed(v, 0, "more"), "the model's spec: format_version: it is miss"),
    ("int_names", lambda v: changed(v, 0, v[1]), "the model's spec: model_dim: it is there twice"),
    ("ints", lambda v: changed(v, 0, 5), "the model's spec: format_version: it is 5; expected 2"),
    ("ints", lambda v: changed(v, 2, 2**40), "max_length: it is 1099511627776; expected 1 to"),
    ("floats", lambda v: changed(v, 0, np.nan), "source_embedding.multiplier: it is not finite"),
    ("texts", lambda v: changed(v, 0, "fp8"), 'precision: it is "fp8"; expected one of float32,'),
    ("tensor_names", lambda v: v[:-1], r"there are \d+ names for \d+ tensors"),
    ("tensor_names", lambda v: changed(v, 0, "x"), "the model's spec: positions: it is missing"),
    ("tensors", lambda v: changed(v, 0, v[0][:-1]), r"positions: it has shape \[11, 8\]; expected"),
    ("tensors", lambda v: changed(v, 0, tf.cast(v[0], tf.int8)), "positions: it is int8; expected"),
    ("tensors", lambda v: changed(v, 3, v[3][:-1]), "packed float32 weights of another size"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_wrong_arguments_are_refused(raw, name, value, message):
    given = dict(arguments())
    given[name] = value(given[name]) if callable(value) else value
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        raw(**given)

    # The same through a graph, where the shapes are not known before it runs.
    @tf.function
    def hidden(ids, divisors):
        ids, divisors = (
            tf.ensure_shape(tf.py_function(lambda x: x, [x], x.dtype), None)
            for x in (ids, divisors)
        )
        return raw(**given | {"source_ids": ids, "divisors": divisors})

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        hidden(tf.constant(given["source_ids"]), tf.constant(given["divisors"]))


def test_a_model_that_gives_nan_is_an_error(raw):
    given = dict(arguments())
    broken = [
        np.full(t.shape, np.nan, F32) if t.dtype == F32 and t.ndim == 1 else t
        for t in given["tensors"]
    ]
    with pytest.raises(tf.errors.InvalidArgumentError, match="bias: it has nan at flat position 0"):
        raw(**given | {"tensors": broken})
    # What was computed in is of no harm to the next call.
    assert np.isfinite(raw(**given)[2]).all()


def test_damaged_specs_are_errors_or_models_and_never_a_crash(raw):
    """Each whole number of the spec replaced by others."""
    given = arguments()
    refused = 0
    for place, number in enumerate(given["ints"]):
        for other in {0, -1, 1, number + 1, 2 * number, 2**31 - 1, 2**31, 2**62} - {number}:
            try:
                raw(**given | {"ints": changed(given["ints"], place, other)})
            except tf.errors.InvalidArgumentError:
                refused += 1
    assert refused > len(given["ints"])


def test_an_empty_batch_gives_empty_results(raw):
    for shape in ((0, 0), (0, 5)):
        given = arguments() | {"source_ids": np.zeros(shape, np.int32), "num_hypotheses": 2}
        tokens, lengths, scores = raw(**given)
        assert tokens.shape == (0, 2, 0)
        assert lengths.shape == scores.shape == (0, 2)


def test_rows_of_padding_are_sentences_of_one_token(raw):
    pad = 0 * arguments()["source_ids"]
    tokens, lengths, scores = raw(**arguments() | {"source_ids": pad})
    alone = raw(**arguments() | {"source_ids": pad[:1, :1]})
    for found, expected in zip((tokens, lengths, scores), alone, strict=True):
        np.testing.assert_array_equal(found[1], expected[0], strict=True)


def test_padding_beyond_the_longest_source_is_allowed(raw):
    wide = np.pad(arguments()["source_ids"], ((0, 0), (0, 40)))
    for found, expected in zip(
        raw(**arguments() | {"source_ids": wide}), raw(**arguments()), strict=True
    ):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_shapes_are_known_as_far_as_attributes_tell(raw):
    given = for_the_function()

    @tf.function(input_signature=[tf.TensorSpec([3, None], tf.int32)])
    def translated(ids):
        return translate(**given | {"source_ids": ids, "num_hypotheses": 2})

    shapes = [t.shape.as_list() for t in translated.get_concrete_function().structured_outputs]
    assert shapes == [[3, 2, None], [3, 2], [3, 2]]


# ---- ops.translate: what needs no data is refused at once


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("source_ids", np.int64([[3]]), "`source_ids` must be of dtype int32; received int64"),
        ("source_ids", np.int32([3]), "`source_ids` must have rank 2"),
        ("divisors", np.ones(3), "`divisors` must be of dtype float32; received float64"),
        ("tensors", {"positions": np.ones(3)}, "`positions` must be of dtype float32 or int8 or u"),
        ("beam_size", 0, "`beam_size` must be at least 1; received 0"),
        ("num_hypotheses", 3, "`num_hypotheses` is 3, more than the beam, 2"),
        ("min_length", -1, "`min_length` must be at least 0; received -1"),
        ("batch_size", 0, "`batch_size` must be at least 1; received 0"),
    ],
)
def test_the_function_checks_at_once(raw, name, value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        translate(**for_the_function() | {name: value})


def test_it_needs_the_native_library(monkeypatch):
    monkeypatch.setattr(native, "_loaded", native._Loaded(reason="KERAS_INT8NMT_NATIVE=0"))
    with pytest.raises(RuntimeError, match="needs the native library: KERAS_INT8NMT_NATIVE=0"):
        translate(np.int32([[3]]), F32([1, 1]), ModelSpec({}, {}))
