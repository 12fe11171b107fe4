"""Two text files become a model that translates in INT8, in the few lines that it takes."""

import random

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


def test_a_model_that_was_trained_on_text_translates_in_int8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    english = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    german = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
    draw = random.Random(1)
    numbers = [draw.choices(range(10), k=draw.randint(1, 5)) for _ in range(3000)]
    for path, words in (("train.en", english), ("train.de", german)):
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(" ".join(words[i] for i in each) + "\n" for each in numbers)

    keras.utils.set_random_seed(1)
    tokenizer = train_sentencepiece("train.en", "train.de", vocabulary_size=45)
    sizes = {
        "source_vocabulary_size": 45,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "model_dim": 64,
        "num_heads": 4,
        "ffn_dim": 128,
        "norm": "pre",
        "dropout": 0.0,
    }
    model = build_transformer(quant=False, **sizes)  # plain Keras layers, which train fastest
    data = parallel_dataset("train.en", "train.de", tokenizer, model=model, batch_tokens=2048)
    optimizer = keras.optimizers.Adam(InverseSquareRoot(5e-3, warmup_steps=45), beta_2=0.98)
    # Compiling each length with XLA takes longer than these few steps.
    model.compile(optimizer, SmoothedCrossEntropy(0.1), jit_compile=False)
    model.fit(data, epochs=8, shuffle=False, verbose=0)

    sentences = [" ".join(english[i] for i in each) for each in numbers[:300]]
    trained = build_transformer(**sizes)  # layers that can be calibrated, and the same function
    copy_weights(model, trained)
    calibrate(trained, tokenizer, sentences)
    save_folder(convert(trained), "numbers-int8", tokenizer)
    translator = load_translator("numbers-int8", beam_size=4)
    assert translator(["three one four", "nine eight"]) == ["drei eins vier", "neun acht"]
    assert translator(["five zero two", "seven"]) == ["fünf null zwei", "sieben"]
