"""Run on JAX by `training/test_on_jax.py`: text is trained on without TensorFlow."""

import sys

import keras
import numpy as np

from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.training.dataset import parallel_dataset
from keras_int8nmt.training.loss import SmoothedCrossEntropy
from keras_int8nmt.training.schedule import InverseSquareRoot

assert keras.config.backend() == "jax"


class Letters:
    """One token a letter."""

    pad_id, eos_id = 0, 1

    def encode(self, text):
        return [ord(c) - ord("a") + 2 for c in text] + [1]

    def decode(self, ids):
        return "".join(chr(i - 2 + ord("a")) for i in ids if i > 1)


def check_fit():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdef"), rng.integers(1, 11))) for _ in range(200)]
    model = build_transformer(
        quant=False, source_vocabulary_size=8, num_encoder_layers=1, num_decoder_layers=1,
        model_dim=32, num_heads=2, ffn_dim=64, dropout=0.0, max_length=12,
    )  # fmt: skip
    data = parallel_dataset(texts, texts, Letters(), model=model, batch_tokens=256)
    rate = InverseSquareRoot(1e-2, warmup_steps=10)
    model.compile(keras.optimizers.Adam(rate), SmoothedCrossEntropy(0.1))
    losses = model.fit(data, epochs=4, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.2, losses
    assert data.epoch == 4
    assert "tensorflow" not in sys.modules


check_fit()
print("jax ok")
