"""The path in force: the native library or stock TensorFlow operations."""

from __future__ import annotations

import pytest

from keras_int8nmt.ops import (
    functions as ops,
)
from keras_int8nmt.ops import stock as stock_ops


@pytest.fixture(params=["native", "stock"])
def path(request, monkeypatch):
    """The path in force; the test of a path that is not there is skipped."""
    if request.param == "native":
        if not ops.native_available():
            pytest.skip(f"no native library: {ops.native_info()}")
    else:
        monkeypatch.setattr(ops, "_backend", lambda: stock_ops)
    return request.param
