"""Translates with a float and an INT8 model: beam search over a key/value cache.

    python examples/translate.py --model toy.keras toy-int8.keras --text "3 1 4 1 5"

The models are those that `train_toy.py` and `quantize.py` saved.
"""

from __future__ import annotations

import argparse

import keras
from toy_task import MAX_DIGITS, DigitTokenizer

from keras_int8nmt import Translator

TEXTS = ["3 1 4 1 5", "2 7 1 8 2 8", "9", "1 2 3 4 5 6 7 8"]


def translate(path: str, texts: list[str], beam_size: int) -> list[str]:
    """The translations of `texts` by the model saved at `path`."""
    model = keras.models.load_model(path)
    translator = Translator(model, DigitTokenizer(), beam_size=beam_size, max_length=MAX_DIGITS + 2)
    return translator(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", nargs="+", default=["toy.keras", "toy-int8.keras"])
    parser.add_argument("--text", nargs="+", default=TEXTS, help="digits separated by spaces")
    parser.add_argument("--beam-size", type=int, default=4)
    arguments = parser.parse_args()
    for path in arguments.model:
        print(path)
        results = translate(path, arguments.text, arguments.beam_size)
        for text, result in zip(arguments.text, results, strict=True):
            print(f"  {text}  ->  {result}")


if __name__ == "__main__":
    main()
