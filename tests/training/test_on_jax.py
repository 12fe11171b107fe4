"""Text is trained on where Keras stands on JAX, in a process of its own without TensorFlow."""

import importlib.util

import pytest
from helpers.jax_process import check_on_jax


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_text_is_trained_on_with_jax_without_tensorflow():
    check_on_jax("corpus")
