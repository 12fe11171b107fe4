"""The native decoder: a model and a search on streams of the native library, by its C functions."""

from __future__ import annotations

import atexit
import ctypes
import json
import time
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain, count
from typing import Any, TypeVar

from keras_int8nmt import native
from keras_int8nmt._arguments import whole
from keras_int8nmt._memory import address_of, dtype_of
from keras_int8nmt.runtime.errors import EngineError, EngineGoneError, ForkedProcessError
from keras_int8nmt.runtime.forks import ForkSafeLock, in_forked_child
from keras_int8nmt.runtime.model_spec import DTYPES, ModelSpec
from keras_int8nmt.runtime.results import Hypothesis, found_hypothesis
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.runtime.token_filters import native_refusal

# How often a waiting caller looks around: for Ctrl-C, and for progress to tell.
_PATIENCE_MS = 100
# With more sentences than this to come, it looks around at most once in a nap of so many seconds.
_MANY, _NAP = 64, 0.002
# Results that are told of at a time.
_TOLD = 16
_INT, _FLOAT, _TEXT = range(3)
# Of an element of arrays.
_BYTES = {form: array(form).itemsize for form in "qif"}

_S = TypeVar("_S", bound=ctypes.Structure)


class _Setting(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("whole", ctypes.c_int64),
        ("number", ctypes.c_double),
        ("text", ctypes.c_char_p),
    ]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
        ("data", ctypes.c_void_p),
    ]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_int64),
        ("settings", ctypes.POINTER(_Setting)),
        ("num_settings", ctypes.c_int64),
        ("tensors", ctypes.POINTER(_Tensor)),
        ("num_tensors", ctypes.c_int64),
    ]


class _TokenFilter(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_char_p),
        ("numbers", ctypes.POINTER(ctypes.c_int64)),
        ("count", ctypes.c_int64),
    ]


class _SearchOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_int64),
        ("beam_size", ctypes.c_int32),
        ("num_hypotheses", ctypes.c_int32),
        ("max_length", ctypes.c_int32),
        ("min_length", ctypes.c_int32),
        ("divisors", ctypes.POINTER(ctypes.c_float)),
        ("scores", ctypes.c_int32),
        ("num_filters", ctypes.c_int32),
        ("filters", ctypes.POINTER(_TokenFilter)),
    ]


class _PoolOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_int64),
        ("streams", ctypes.c_int32),
        ("threads_per_stream", ctypes.c_int32),
        ("pin", ctypes.c_int32),
        ("batch_size", ctypes.c_int32),
        ("max_source", ctypes.c_int32),
    ]


class _Owned(ctypes.c_void_p):
    """Something of the library's that is given back when nobody holds it any more.

    The library's functions return it as such, so there is no moment in which an interrupt could
    lose it, and a call that has it as an argument keeps it.
    """

    give_back: Any = None

    def __del__(self) -> None:
        if self:
            self.give_back(self)


class _Pool(_Owned):
    # What the library reads as long as the pool is there.
    spec: ModelSpec | None = None


class _Request(_Owned):
    pass


class NativeDecoder:
    """Streams that translate token ids with one model; safe from many threads at once.

    When Python ends, so do the streams of every decoder: a daemon thread that still waits for one
    gets an error, and no stream reads memory that is gone.

    Args:
        spec: The model, with packed weights. Its tensors are used where they are.
        search: What to search for.
        streams: Searches that run at the same time, each on a thread of its own.
        threads_per_stream: Threads that share the large products of each.
        batch_size: Sentences that a stream computes together.
        max_source_length: Most tokens of a source.

    Raises:
        RuntimeError: without the native library, when it can't run the model, or when Python ends.
        ValueError: for a number that C has no room for.
    """

    def __init__(
        self,
        spec: ModelSpec,
        search: SearchOptions,
        *,
        streams: int,
        threads_per_stream: int,
        batch_size: int,
        max_source_length: int,
    ) -> None:
        self._functions = _prepared(native.require_functions())
        # Told by the child itself: to ask the system each time would be a call of it.
        self._forked = False
        self._closed = False
        # What is called when the request of a tag is over; a loop's thread has it for itself.
        self._callbacks: dict[int, Callable[[], Any]] = {}
        self._tags = count()
        self._over = _zeros("q", _TOLD)
        self.max_length = search.max_length
        settings = [_setting(name.encode(), value) for name, value in spec.settings.items()]
        tensors = [_tensor(name.encode(), tensor) for name, tensor in spec.tensors.items()]
        handed = _Spec(
            ctypes.sizeof(_Spec),
            (_Setting * len(settings))(*settings),
            len(settings),
            (_Tensor * len(tensors))(*tensors),
            len(tensors),
        )
        # The library copies these.
        divisors = search.divisors()
        filters = _native_filters(search)
        asked = _filled(
            _SearchOptions,
            size=ctypes.sizeof(_SearchOptions),
            beam_size=search.beam_size,
            num_hypotheses=search.num_hypotheses,
            max_length=search.max_length,
            min_length=search.min_length,
            divisors=(ctypes.c_float * len(divisors)).from_buffer(divisors),
            scores=search.return_scores,
            num_filters=len(filters),
            filters=filters,
        )
        pool = _filled(
            _PoolOptions,
            size=ctypes.sizeof(_PoolOptions),
            streams=streams,
            threads_per_stream=threads_per_stream,
            pin=1,
            batch_size=batch_size,
            max_source=max_source_length,
        )
        with _opening:
            if _ending:
                raise EngineGoneError("The native decoder: the interpreter is ending.")
            self._pool = self._functions.keras_int8nmt_pool_create(
                ctypes.byref(handed),
                ctypes.byref(asked),
                ctypes.byref(pool),
            )
            if not self._pool:
                raise EngineError(f"The native decoder: {self._error()}.")
            # The library reads its tensors where they are.
            self._pool.spec = spec
            _open.add(self)

    def over_descriptor(self) -> int:
        """A file descriptor that is readable while `call_over` has something to call.

        It belongs to this decoder, and is closed with it.

        Raises:
            RuntimeError: where the system has none left, or in a forked child.
        """
        self.check_process()
        found: int = self._functions.keras_int8nmt_pool_over_descriptor(self._pool)
        if found < 0:
            raise EngineError(f"The native decoder: {self._error()}.")
        return found

    def call_over(self) -> None:
        """Calls what `when_over` was given of some results that are over; it waits for nothing.

        Of others the descriptor goes on telling, so that a loop comes to its other work. To be
        called by one thread alone, the one that calls `when_over`.
        """
        told = self._functions.keras_int8nmt_pool_take_over(self._pool, _pointer(self._over), _TOLD)
        for tag in self._over[:told]:
            # None for what was cancelled meanwhile.
            callback = self._callbacks.pop(tag, None)
            if callback is not None:
                callback()

    def close(self) -> None:
        """Ends the streams; calls in other threads fail, and later ones."""
        self._closed = True
        self._functions.keras_int8nmt_pool_close(self._pool)

    @property
    def usable(self) -> bool:
        """Whether its threads are there: not after `close`, and not in a forked child."""
        return not self._closed and not self.is_of_another_process

    @property
    def is_of_another_process(self) -> bool:
        """Whether this is a forked child's: it has what was begun, and nobody works on it."""
        return self._forked

    def begin(self, sentences: Sequence[Sequence[int]], order: Sequence[int]) -> NativeResult:
        """Hands sentences to the streams and does not wait for them.

        What was begun earlier goes first; a stream takes from the next request as soon as nobody
        waits of the one before.

        Args:
            sentences: Token ids, the end token included; at least one sentence.
            order: In which order they are begun: each index once.

        Raises:
            RuntimeError: when it was closed, is of the process that this one was forked from, or
                has no memory for them.
            ValueError: for ids or lengths that the model has not.
        """
        self._check_usable()
        offsets = array("q", accumulate(map(len, sentences), initial=0))
        ids = array("i", chain.from_iterable(sentences))
        ranks = array("q", order)
        request = self._functions.keras_int8nmt_request_submit(
            self._pool,
            _pointer(ids),
            _pointer(offsets),
            _pointer(ranks),
            len(sentences),
        )
        if not request:
            self._check_usable()
            of_argument = self._functions.keras_int8nmt_last_error_is_of_argument()
            kind = ValueError if of_argument else EngineError
            raise kind(f"The native decoder: {self._error()}.")
        return NativeResult(self, self._functions, request, len(sentences))

    @contextmanager
    def profile(self) -> Iterator[dict[str, dict[str, float]]]:
        """Counts the time of each kind of work while the block runs; filled at the end.

        By the name of the work: `calls` and `seconds`, summed over all streams.

        Raises:
            RuntimeError: as `begin`.
        """
        self._check_usable()
        times: dict[str, dict[str, float]] = {}
        self._functions.keras_int8nmt_pool_profile_start(self._pool)
        try:
            yield times
        finally:
            text = self._functions.keras_int8nmt_pool_profile_stop(self._pool)
            if text is None:
                raise EngineError(f"The native decoder: {self._error()}.")
            times.update(json.loads(text))

    def check_process(self) -> None:
        """Raises ForkedProcessError in a forked child."""
        if self.is_of_another_process:
            raise ForkedProcessError(
                "The native decoder: it was begun before this process was forked."
            )

    def _check_usable(self) -> None:
        self.check_process()
        if self._closed:
            raise EngineGoneError("The native decoder: it was closed.")

    def _error(self) -> str:
        return self._functions.keras_int8nmt_last_error().decode()


# ---- the end of Python, and of processes that were forked

_open: weakref.WeakSet[NativeDecoder] = weakref.WeakSet()
_opening = ForkSafeLock()
_ending = False


@atexit.register
def _close_all() -> None:
    """Ends the streams before the memory that they read goes.

    Threads that Python waits for have ended when it calls this; daemon threads go on.
    """
    global _ending
    with _opening:
        _ending = True
        still_open = list(_open)
    for decoder in still_open:
        decoder.close()


@in_forked_child
def _forget_all() -> None:
    """A child has none of these streams."""
    global _open
    for decoder in _open:
        decoder._forked = True
    _open = weakref.WeakSet()


class NativeResult:
    """Sentences that a `NativeDecoder` is at; see `AsyncResult`.

    The streams and this hold the request, each as long as it needs it. So whoever waits may leave
    in any way: what is not finished is cancelled as soon as nobody holds the result.
    """

    def __init__(
        self, decoder: NativeDecoder, functions: Any, request: _Request, count: int
    ) -> None:
        self._decoder, self._functions = decoder, functions
        self._request: _Request | None = request
        self._count = count
        self._tag = -1

    def results(self, progress: Callable[[int], Any] | None = None) -> list[list[Hypothesis]]:
        """The hypotheses of each sentence, best first; see `AsyncResult`.

        Raises:
            RuntimeError: when the decoder fails on a sentence, is closed or this cancelled
                meanwhile, or in a child that was forked since.
        """
        self._decoder.check_process()
        request = self._request
        if request is None:
            raise EngineGoneError("The native decoder: its results were taken, or it was closed.")
        try:
            self._wait(request, progress)
            error = self._functions.keras_int8nmt_request_error(request).decode()
            if error:
                if not self._decoder.usable:
                    raise EngineGoneError("The native decoder: it was closed.")
                raise EngineError(f"The native decoder: {error}.")
            return self._read(request)
        finally:
            # A traceback may hold the request for longer than anybody wants its answers.
            self._functions.keras_int8nmt_request_cancel(request)
            self._request = None

    def when_over(self, callback: Callable[[], Any]) -> bool:
        """See `SearchResults`; called by `NativeDecoder.call_over`. To be asked for once.

        Raises:
            RuntimeError: without memory for it, or in a child that was forked since.
        """
        self._decoder.check_process()
        if self._request is None:
            return False
        tag = next(self._decoder._tags)
        if not self._functions.keras_int8nmt_request_tell(self._request, tag):
            raise EngineError(f"The native decoder: {self._decoder._error()}.")
        self._tag = tag
        self._decoder._callbacks[tag] = callback
        return True

    def cancel(self) -> None:
        """See `AsyncResult`; a thread that waits for the results gets a RuntimeError."""
        request, self._request = self._request, None
        self._decoder._callbacks.pop(self._tag, None)
        if request is not None:
            self._functions.keras_int8nmt_request_cancel(request)

    def _wait(self, request: _Request, progress: Callable[[int], Any] | None) -> None:
        # One that does not wait keeps the interpreter: to get it back takes longer than the call.
        finished = self._functions.poll_request(request, 0)
        if progress is not None and finished:
            progress(finished)
        while finished < self._count:
            before = finished
            finished = self._functions.keras_int8nmt_request_wait(request, _PATIENCE_MS)
            if progress is not None and finished > before:
                progress(finished - before)
            if self._count - finished > _MANY:
                # Waking for each of many sentences would take time from the streams.
                time.sleep(_NAP)

    def _read(self, request: _Request) -> list[list[Hypothesis]]:
        sizes = _zeros("q", 2)
        self._functions.keras_int8nmt_request_sizes(request, _pointer(sizes))
        counts = _zeros("q", self._count)
        lengths, scores = _zeros("q", sizes[0]), _zeros("f", sizes[0])
        tokens = _zeros("i", sizes[1])
        self._functions.keras_int8nmt_request_results(
            request, _pointer(counts), _pointer(lengths), _pointer(scores), _pointer(tokens)
        )
        every = tokens.tolist()
        found = [
            found_hypothesis(every[end - length : end], score, self._decoder.max_length)
            for end, length, score in zip(accumulate(lengths), lengths, scores, strict=True)
        ]
        return [found[last - n : last] for last, n in zip(accumulate(counts), counts, strict=True)]


def _native_filters(search: SearchOptions) -> Any:
    """The filters as the library makes them.

    Raises:
        RuntimeError: for one that has no native form.
    """
    forms = [one.native() for one in search.filters()]
    if None in forms:
        raise RuntimeError(f"The native decoder: {native_refusal(search.filters())}.")
    return (_TokenFilter * len(forms))(
        *(
            _TokenFilter(
                form.kind.encode(),
                (ctypes.c_int64 * len(form.numbers))(*(_int64(form.kind, n) for n in form.numbers)),
                len(form.numbers),
            )
            for form in forms
            if form is not None
        )
    )


def _filled(kind: type[_S], **values: Any) -> _S:
    """A struct of these values; a ValueError for one that does not fit, which ctypes would wrap."""
    struct = kind(**values)
    for name, value in values.items():
        if isinstance(value, int) and getattr(struct, name) != value:
            raise ValueError(f"`{name}` is {value}, more than the native decoder has room for.")
    return struct


def _int64(name: str, value: int) -> int:
    return whole(name, value, -(1 << 63), (1 << 63) - 1)


def _setting(name: bytes, value: int | float | str) -> _Setting:
    if isinstance(value, int):
        return _Setting(name, _INT, _int64(name.decode(), value), 0.0, b"")
    if isinstance(value, float):
        return _Setting(name, _FLOAT, 0, value, b"")
    return _Setting(name, _TEXT, 0, 0.0, value.encode())


def _tensor(name: bytes, tensor: Any) -> _Tensor:
    dtype, rank = dtype_of(tensor), len(tensor.shape)
    assert dtype is not None, "a ModelSpec has no others"
    dims = (ctypes.c_int64 * rank)(*tensor.shape)
    return _Tensor(name, DTYPES.index(dtype), rank, dims, address_of(tensor))


def _zeros(form: str, count: int) -> array[Any]:
    return array(form, bytes(_BYTES[form] * count))


def _pointer(numbers: array[Any]) -> int:
    """Where the numbers lie; as long as nobody makes more of them."""
    return numbers.buffer_info()[0]


def _prepared(functions: Any) -> Any:
    """The library's functions with their types told."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    signatures = {
        "last_error_is_of_argument": (ctypes.c_bool, []),
        "pool_create": (_Pool, [pointer, pointer, pointer]),
        "pool_close": (None, [pointer]),
        "pool_destroy": (None, [pointer]),
        "pool_over_descriptor": (ctypes.c_int, [pointer]),
        "pool_profile_start": (None, [pointer]),
        "pool_profile_stop": (ctypes.c_char_p, [pointer]),
        "request_submit": (_Request, [pointer, pointer, pointer, pointer, number]),
        "request_wait": (number, [pointer, ctypes.c_int]),
        "request_cancel": (None, [pointer]),
        "request_error": (ctypes.c_char_p, [pointer]),
        "request_sizes": (None, [pointer, pointer]),
        "request_results": (None, [pointer, pointer, pointer, pointer, pointer]),
        "request_free": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(functions, "keras_int8nmt_" + name)
        function.restype, function.argtypes = result, arguments
    # Short ones, called without letting go of the interpreter.
    for name, called in {
        "pool_take_over": ctypes.PYFUNCTYPE(number, pointer, pointer, number),
        "request_tell": ctypes.PYFUNCTYPE(ctypes.c_bool, pointer, number),
    }.items():
        name = "keras_int8nmt_" + name
        setattr(functions, name, called((name, functions)))
    polling = ctypes.PYFUNCTYPE(number, pointer, ctypes.c_int)
    functions.poll_request = polling(("keras_int8nmt_request_wait", functions))
    _Pool.give_back = functions.keras_int8nmt_pool_destroy
    _Request.give_back = functions.keras_int8nmt_request_free
    return functions
