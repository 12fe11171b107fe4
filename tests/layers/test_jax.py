"""The float layers on the JAX back end, in a process of its own without TensorFlow."""

import importlib.util

import keras
import pytest
from helpers.jax_process import check_on_jax


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.slow
def test_layers_train_and_calibrate_on_jax_without_tensorflow():
    check_on_jax("layers")


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.slow
def test_any_model_is_quantized_and_calibrated_on_jax():
    check_on_jax("any_model")


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.skipif(
    not hasattr(keras.layers, "ReversibleEmbedding"), reason="Keras has it since 3.13"
)
@pytest.mark.slow
def test_the_other_layer_types_train_and_calibrate_on_jax():
    check_on_jax("layer_types")
