"""The toy task of the examples: a sequence of digits is translated into its reverse."""

from __future__ import annotations

import keras
import numpy as np

PAD, EOS, START = 0, 1, 2
FIRST_DIGIT = 3
VOCABULARY_SIZE = FIRST_DIGIT + 10
MAX_DIGITS = 8


class DigitTokenizer:
    """Text such as "3 1 4" to token ids and back; what `Translator` asks of a tokenizer."""

    pad_id, eos_id = PAD, EOS

    def encode(self, text: str) -> list[int]:
        """The ids of the digits in `text`, and the end token."""
        return [FIRST_DIGIT + int(c) for c in text if c in "0123456789"] + [EOS]

    def decode(self, ids: list[int]) -> str:
        """The digits among `ids`, separated by spaces."""
        return " ".join(str(i - FIRST_DIGIT) for i in ids if i >= FIRST_DIGIT)


def make_data(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Random pairs, ready for `fit` and `evaluate`.

    Returns:
        Inputs (`source`, and `target`, what the decoder is fed), labels (what it has to predict)
        and sample weights (padding has no loss): int32 `[count, MAX_DIGITS + 1]`, float32 weights.
    """
    rng = np.random.default_rng(seed)
    shape = (count, MAX_DIGITS + 1)
    source, labels = np.full(shape, PAD, np.int32), np.full(shape, PAD, np.int32)
    for row, reverse in zip(source, labels, strict=True):
        length = rng.integers(1, MAX_DIGITS + 1)
        digits = rng.integers(FIRST_DIGIT, VOCABULARY_SIZE, length)
        row[:length], reverse[:length] = digits, digits[::-1]
        row[length] = reverse[length] = EOS
    target = np.concatenate([np.full((count, 1), START, np.int32), labels[:, :-1]], axis=1)
    return {"source": source, "target": target}, labels, (labels != PAD).astype(np.float32)


def falling_rate(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rises to `peak` and falls to nothing at the end of so many steps.

    A rate that stays where it is makes the last steps jump about: how good the model is would
    depend on the last bits of a CPU's sums.
    """
    warmup = min(100, steps // 2)
    return keras.optimizers.schedules.CosineDecay(
        peak / 10, steps - warmup, warmup_target=peak, warmup_steps=warmup
    )
