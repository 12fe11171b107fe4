"""Ops share their work among threads, and give the bits that one thread gives."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import native
from keras_int8nmt.ops import functions as ops

pytestmark = pytest.mark.skipif(
    not ops.native_available(), reason=f"no native library: {ops.native_info()}"
)
F = np.float32
THREADS = 2, 3, 5


@pytest.fixture(autouse=True)
def threads_as_before():
    before = native.info()["threads"]
    yield
    native.set_num_threads(before)


def codes(rng, *shape):
    return rng.integers(-127, 128, shape).astype(np.int8)


def product(m, k, n):
    rng = np.random.default_rng(m)
    packed = ops.pack_weights(codes(rng, k, n))
    scales, bias = rng.uniform(1e-4, 2e-4, n).astype(F), rng.normal(size=n).astype(F)
    x = codes(rng, m, k)
    return lambda: ops.int8_matmul(x, packed, scales, bias, activation="gelu_tanh")


def dynamic_product(m, k, n):
    rng = np.random.default_rng(m)
    packed = ops.pack_weights(codes(rng, k, n))
    x = rng.normal(size=(m, k)).astype(F)
    return lambda: ops.dynamic_matmul(x, packed, np.full(n, 0.01, F), np.ones(n, F))


def written_codes(m, k, n):
    rng = np.random.default_rng(m)
    packed = ops.pack_weights(codes(rng, k, n))
    x = codes(rng, m, k)
    scales = np.full(n, 1e-4, F)
    step = {"out_scale": 1.7, "out_zero_point": 3, "out_dtype": "uint8"}
    return lambda: ops.int8_matmul(x, packed, scales, np.ones(n, F), **step)


def attention(batch, rows, keys, **settings):
    rng = np.random.default_rng(batch)
    heads, size = 4, 32
    query = codes(rng, batch, rows, heads * size)
    key, value = codes(rng, batch, keys, heads * size), codes(rng, batch, keys, heads * size)
    lengths = rng.integers(1, keys + 1, batch).astype(np.int32)
    if settings.pop("masked", False):
        settings["mask"] = rng.random((batch, rows, keys)) < 0.8
    if settings.pop("biased", False):
        settings["bias"] = rng.normal(size=(1, heads, rows, keys)).astype(F)
    given = {"num_heads": heads, "head_dim": size, "scale": 1e-4, "out_scale": 0.5, **settings}
    return lambda: ops.int8_attention(query, key, value, lengths, **given)


def norm(rows, columns):
    rng = np.random.default_rng(rows)
    x, residual = rng.normal(size=(2, rows, columns)).astype(F)
    gamma, beta = rng.normal(size=(2, columns)).astype(F)
    step = {"out_scale": 40.0, "out_zero_point": 128, "out_dtype": "uint8"}
    return lambda: ops.layer_norm(x, gamma, beta, residual=residual, carry="sum", **step)


def quantized(count):
    x = np.random.default_rng(count).normal(size=count).astype(F)
    return lambda: ops.quantize(x, 31.0, 0, "int8")


def dequantized(count):
    x = codes(np.random.default_rng(count), count)
    return lambda: ops.dequantize(x, 0.5, 0)


# Each large enough to be shared, by rows or by columns.
WORK = {
    "product of many rows": lambda: product(401, 300, 700),
    "product of few rows": lambda: product(17, 1000, 3001),
    "product that writes codes": lambda: written_codes(200, 512, 515),
    "dynamic product": lambda: dynamic_product(333, 256, 500),
    "attention": lambda: attention(7, 65, 190),
    "attention, masked": lambda: attention(7, 65, 190, masked=True, out_dtype="int8"),
    "attention, causal, biased": lambda: attention(5, 90, 190, causal=True, offset=3, biased=True),
    "attention of one batch": lambda: attention(1, 401, 400, causal=True, masked=True, biased=True),
    "attention of fewer batches than threads": lambda: attention(2, 150, 200, biased=True),
    "norm": lambda: norm(601, 500),
    "quantize": lambda: quantized(1_000_003),
    "dequantize": lambda: dequantized(1_000_003),
}


def bits(results):
    return [np.asarray(x).tobytes() for x in tf.nest.flatten(results)]


@pytest.mark.parametrize("name", WORK)
def test_any_number_of_threads_gives_the_same_bits(name):
    work = WORK[name]()
    native.set_num_threads(1)
    expected = bits(work())
    for threads in THREADS:
        native.set_num_threads(threads)
        assert [bits(work()) for _ in range(3)] == [expected] * 3, threads


@pytest.mark.skipif(
    native.info().get("gemm") in ("mkl", "onednn"), reason="the back end has threads of its own"
)
def test_a_large_product_is_computed_by_other_threads_too():
    work = product(2048, 1024, 1024)

    def share_of_this_thread(threads):
        native.set_num_threads(threads)
        work()
        start, thread = time.process_time(), time.thread_time()
        for _ in range(10):
            work()
        return (time.thread_time() - thread) / (time.process_time() - start)

    own = [share_of_this_thread(threads) for threads in (1, 4)]
    # A quarter of it, and what the thread waits for the others.
    assert own[1] < 0.8 < 0.9 < own[0]


def test_several_callers_at_once_get_their_own_results():
    native.set_num_threads(2)
    makers = list(WORK.values())[:6]
    works = [make() for make in makers]
    expected = [bits(work()) for work in works]
    found: list[list[bytes] | None] = [None] * len(works)

    def call(i):
        for _ in range(5):
            found[i] = bits(works[i]())

    callers = [threading.Thread(target=call, args=[i]) for i in range(len(works))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == expected


def test_there_are_as_many_as_cores_until_told_otherwise():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "from keras_int8nmt import native; print(native.info()['threads'])"
    )
    one = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert one.stdout.split() == ["1"]
