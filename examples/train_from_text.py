"""From two text files to INT8 translations: pieces, training, calibration, conversion.

    python examples/train_from_text.py --source train.en --target train.de --output en-de-int8

A file has one sentence a line, the other as many translations; `docs/training.md` has the same step
by step. `train_multi30k.py` trains a better model, with validation and averaged weights.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import keras

from keras_int8nmt import (
    build_transformer,
    calibrate,
    convert,
    copy_weights,
    load_translator,
    parallel_dataset,
    save_folder,
    train_sentencepiece,
)
from keras_int8nmt.training import InverseSquareRoot, SmoothedCrossEntropy

CALIBRATION_SENTENCES = 600


def run(arguments: argparse.Namespace) -> None:
    keras.utils.set_random_seed(1)
    source, target = arguments.source, arguments.target
    tokenizer = train_sentencepiece(source, target, vocabulary_size=arguments.vocabulary)
    sizes = {
        "source_vocabulary_size": arguments.vocabulary,
        "num_encoder_layers": arguments.layers,
        "num_decoder_layers": arguments.layers,
        "model_dim": arguments.width,
        "num_heads": 4,
        "ffn_dim": 4 * arguments.width,
        "norm": "pre",
    }
    model = build_transformer(quant=False, **sizes)
    data = parallel_dataset(
        source, target, tokenizer, model=model, batch_tokens=arguments.batch_tokens
    )
    print(f"{data.counts}, {len(data)} batches, {model.count_params()} parameters")
    rate = InverseSquareRoot(arguments.learning_rate, arguments.warmup)
    optimizer = keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9, global_clipnorm=1.0)
    model.compile(optimizer, SmoothedCrossEntropy(0.1))
    # `data` has another order in each epoch by itself.
    model.fit(data, epochs=arguments.epochs, shuffle=False, verbose=2)

    with open(source, encoding="utf-8") as file:
        sentences = [line.strip() for line in itertools.islice(file, CALIBRATION_SENTENCES)]
    # Trained as plain layers, which is faster; these can be calibrated, and give the same.
    trained = build_transformer(quant=True, **sizes)
    copy_weights(model, trained)
    calibrate(trained, tokenizer, sentences)
    save_folder(convert(trained), arguments.output, tokenizer, force=arguments.force)
    print(f"saved {arguments.output}")

    # From here on neither Keras nor TensorFlow is needed.
    translator = load_translator(arguments.output, beam_size=4)
    texts = arguments.text or sentences[:3]
    for text, translation in zip(texts, translator(texts), strict=True):
        print(f"{text}  ->  {translation}")


def parse(options: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="sentences, one a line")
    parser.add_argument("--target", type=Path, required=True, help="as many translations")
    parser.add_argument("--output", default="trained-int8", help="folder of the INT8 model")
    parser.add_argument("--force", action="store_true", help="replace the folder")
    parser.add_argument("--vocabulary", type=int, default=4000, help="joint pieces")
    parser.add_argument("--layers", type=int, default=3, help="of the encoder and of the decoder")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="after warm-up")
    parser.add_argument("--warmup", type=int, default=800, help="steps")
    parser.add_argument("--text", nargs="+", help="what is translated at the end")
    return parser.parse_args(options)


if __name__ == "__main__":
    run(parse())
