"""Numbers of callers: kinds, ranges, and that none of them wraps on its way into C."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from keras_int8nmt import native
from keras_int8nmt._arguments import flag, number, whole
from keras_int8nmt.cli import main
from keras_int8nmt.runtime.native_decoder import _filled, _PoolOptions
from keras_int8nmt.runtime.no_repeat_ngram import NoRepeatNgram
from keras_int8nmt.runtime.results import Hypothesis
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.translation.translator import Translator
from keras_int8nmt.translation.windows import cut

# What a number of 32 or 64 bits would take for 1.
WRAPPING = [2**32 + 1, 2**64 + 1, 2**31, -(2**32) + 1, 2**20000]


@pytest.mark.parametrize("value", [3, np.int64(3), np.int8(3), np.uint32(3)])
def test_whole_numbers_of_any_kind_are_ints(value):
    assert whole("n", value, 1, 4) == 3
    assert type(whole("n", value, 1, 4)) is int


@pytest.mark.parametrize("value", [True, np.True_, 1.0, np.float32(1), "1", None, [1], 1j])
def test_what_is_no_whole_number_is_refused_by_its_name(value):
    with pytest.raises(TypeError, match="`n` must be a whole number; received"):
        whole("n", value, 0)


@pytest.mark.parametrize("value", WRAPPING, ids=int.bit_length)
@pytest.mark.parametrize("option", ["beam_size", "num_hypotheses", "max_length", "min_length"])
def test_no_option_of_a_search_wraps(option, value):
    with pytest.raises(ValueError, match=rf"`{option}` must be at (least|most) .* The range is"):
        SearchOptions(**{option: value})


@pytest.mark.parametrize("value", [1e300, -1e300, 40, -40.0, 10**400, float("nan"), float("inf")])
def test_a_penalty_that_leaves_no_score_is_refused(value):
    with pytest.raises(ValueError, match=r"`length_penalty` must be .*from -10.0 to 10.0; rec"):
        SearchOptions(length_penalty=value)


@pytest.mark.parametrize("value", [True, "1.0", None, [1.0], 1j])
def test_a_penalty_that_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="`length_penalty` must be a number; received"):
        SearchOptions(length_penalty=value)


def test_every_penalty_in_range_leaves_scores_that_differ():
    for penalty in (10, np.float32(-10), -10.0):
        divisors = SearchOptions(length_penalty=penalty, max_length=4096).divisors()
        assert all(0 < divisor < float("inf") for divisor in divisors)
    with pytest.raises(ValueError, match=r"`length_penalty` is 10.0, too far from 0 for a `max_le"):
        SearchOptions(length_penalty=10, max_length=8000).divisors()


@pytest.mark.parametrize("value", ["no", 2, 0.5, None])
def test_a_flag_is_true_or_false(value):
    assert [flag("f", x) for x in (True, False, np.True_, np.False_, 0, 1)] == [
        *(True, False, True, False, False, True)
    ]
    with pytest.raises(TypeError, match="`return_scores` must be True or False; received"):
        SearchOptions(return_scores=value)


def test_a_number_that_no_float_holds_is_out_of_range():
    assert number("x", np.float16(0.5), 0, 1) == 0.5
    with pytest.raises(ValueError, match="from 0 to 1; received a number of 16610 bits"):
        number("x", 10**5000, 0, 1)


@pytest.mark.parametrize("size", WRAPPING, ids=int.bit_length)
def test_filters_windows_and_threads_do_not_wrap(size):
    for name, use in (
        ("size", NoRepeatNgram),
        ("window", lambda n: list(cut([1], n))),
        ("threads", native.set_num_threads),
        ("k", lambda n: native.packed_bytes("int8", n, 1)),
        ("n", lambda n: native.packed_bytes("float32", 1, n)),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be at"):
            use(size)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1.0, 1e9])
def test_a_measurement_ends(seconds):
    with pytest.raises(ValueError, match="`seconds` must be"):
        native.int8_peak(seconds)


@pytest.mark.parametrize(("field", "kind"), _PoolOptions._fields_)
def test_no_number_of_a_struct_wraps(field, kind):
    with pytest.raises(ValueError, match=f"`{field}` is .* more than the native decoder has room"):
        _filled(_PoolOptions, **{field: 2 ** (8 * ctypes.sizeof(kind)) + 1})


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--beam-size", "4294967297"),
        ("--beam-size", "9" * 5000),
        ("--streams", "100000"),
        ("--batch-size", "2147483648"),
        ("--length-penalty", "40"),
        ("--length-penalty", "inf"),
        ("--no-repeat-ngram-size", "18446744073709551617"),
        ("--window", "99999999999999999999"),
    ],
)
def test_the_command_line_names_option_and_range(capfd, flag, value):
    with pytest.raises(SystemExit) as error:
        main(["translate", "model", flag, value])
    assert error.value.code == 2
    told = capfd.readouterr().err
    assert f"argument {flag}: " in told
    assert "at most" in told or "from 0 to 10" in told
    assert "Traceback" not in told


class EchoModel:
    """A model whose engine answers each sentence with itself."""

    max_length, pad_id, eos_id, start_id = 20, 0, 1, 2
    settings = {"source_vocabulary_size": 9}
    errors = ()

    def native_refusal(self):
        return "it is an echo"

    def spec(self, packed=True):
        raise NotImplementedError

    def weights_token(self):
        return 0

    def graph_engine(self, options, batch_size, streams, max_batch_tokens=None):
        return self

    def begin(self, sentences, keys):
        self.found = [[Hypothesis(None, sentence, 0.0)] for sentence in sentences]
        return self

    def results(self, progress=None):
        return self.found


@pytest.mark.parametrize("value", [*WRAPPING, 0], ids=int.bit_length)
@pytest.mark.parametrize(
    "option",
    ["beam_size", "batch_size", "streams", "threads_per_stream", "max_source_length", "max_length"],
)
def test_no_option_of_a_translator_wraps(option, value):
    with pytest.raises(ValueError, match=f"`{option}` must be at .*; received"):
        Translator(EchoModel(), None, **{option: value})


@pytest.mark.parametrize("value", [1.0, True, "4", None, float("nan")])
@pytest.mark.parametrize("option", ["beam_size", "batch_size", "streams", "max_batch_tokens"])
def test_options_of_a_translator_are_whole_numbers(option, value):
    with pytest.raises(TypeError, match=f"`{option}` must be a whole number; received"):
        Translator(EchoModel(), None, **{option: value})


@pytest.mark.parametrize(
    ("sentences", "error", "message"),
    [
        ([[1.9, 1]], TypeError, r"Sentence 0 has 1.9 at place 0; token ids are whole numbers"),
        ([[5, 1], [True, 1]], TypeError, "Sentence 1 has True at place 0"),
        ([[5, np.True_, 1]], TypeError, "at place 1; token ids are whole numbers"),
        ([["5", 1]], TypeError, "Sentence 0 has '5' at place 0"),
        ([[[5], 1]], TypeError, r"Sentence 0 has \[5\] at place 0"),
        ([[5, float("nan")]], TypeError, "Sentence 0 has nan at place 1"),
        ([np.array([5.0, 1.0])], TypeError, "at place 0; token ids are whole numbers"),
        ([5, 1], TypeError, "Sentence 0 must be token ids; it is 5"),
        ([None], TypeError, "Sentence 0 must be token ids; it is None"),
        ("5 1", TypeError, "`sentences` must be lists of token ids"),
        (["5 1"], TypeError, "Sentence 0 must be token ids; it is '5 1'"),
        ([[2**32 + 5, 1]], ValueError, "Sentence 0 has a token id outside"),
        ([[-1, 1]], ValueError, "Sentence 0 has a token id outside"),
        ([[]], ValueError, "Sentence 0 does not end with the end token"),
    ],
)
def test_ids_that_would_be_read_as_others_are_refused(sentences, error, message):
    with pytest.raises(error, match=message):
        Translator(EchoModel(), None).translate_ids(sentences)


@pytest.mark.parametrize(
    "sentences", [[[5, 1]], ((5, 1),), np.array([[5, 1]], np.uint16), [np.array([5, 1])]]
)
def test_ids_of_any_whole_kind_are_read(sentences):
    found = Translator(EchoModel(), None).translate_ids(sentences)
    assert found[0].hypotheses[0].tokens == [5, 1]
