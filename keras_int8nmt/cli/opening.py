"""Opens models. Keras and TensorFlow are imported here, after what is asked for was checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keras_int8nmt import native
from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.storage.card import MODEL_FILE, has_spec, read_card, require_keras_model
from keras_int8nmt.storage.recognition import recognise


def open_translator(path: str, search: Mapping[str, Any], verbose: bool = False) -> Any:
    """A `Translator` of the model in a folder; a float model translates without its observers.

    A folder that holds a model spec is opened without Keras, any other with it.

    Args:
        path: A folder of ours, or a model of other programs.
        search: Arguments of `Translator`.
        verbose: Whether stderr is told which it is.

    Raises:
        UsageError: where there is no tokenizer.
        ModelFolderError, MarianFormatError: see `load_model`.
    """
    check_native()
    foreign = recognise(path) is not None
    card = None if foreign else read_card(path)
    without_keras = card is not None and has_spec(card) and native.reason() is None
    if card is not None and MODEL_FILE not in card["files"] and not without_keras:
        raise UsageError(
            f"{path} was saved without Keras, so it needs the native library: {native.reason()}."
        )
    if verbose:
        how = "without Keras and TensorFlow, by its model spec" if without_keras else "with Keras"
        print(f"keras-int8nmt: {path} is opened {how}.", file=sys.stderr)
    if without_keras:
        from keras_int8nmt.translation.translator import load_translator

        translator = load_translator(path, return_scores=False, **search)
        if translator.tokenizer is None:
            raise UsageError(f"{path} has no tokenizer.")
        return translator
    model, tokenizer, _ = open_with_tokenizer(path, quant=False)

    from keras_int8nmt.models.plain import plain_model
    from keras_int8nmt.translation.translator import Translator

    # A float model without its observers: the same answers, faster.
    # No command prints a score.
    return Translator(plain_model(model), tokenizer, return_scores=False, **search)


def open_with_tokenizer(path: str, quant: bool = True) -> tuple[Any, Any, dict[str, Any]]:
    """`open_folder`, and a UsageError where there is no tokenizer."""
    model, tokenizer, card = open_folder(path, quant=quant)
    if tokenizer is None:
        raise UsageError(f"{path} has no tokenizer.")
    return model, tokenizer, card


def open_folder(path: str, quant: bool = True) -> tuple[Any, Any, dict[str, Any]]:
    """`load_model`: model, tokenizer and card. A path that is wrong is told at once."""
    if recognise(path) is None:
        require_keras_model(path, read_card(path))
    start_keras()

    from keras_int8nmt.storage.model_folder import load_model

    return load_model(path, quant=quant)


def check_calibrated(path: str, model: Any, otherwise: str = "") -> None:
    """Raises a UsageError that says what to run where a model that was opened is not calibrated.

    Args:
        path: Its folder.
        model: What `open_folder` gave.
        otherwise: What else can be done, to end the sentence with.
    """
    from keras_int8nmt.layers.model_state import without_thresholds
    from keras_int8nmt.thresholds.errors import few

    missing = without_thresholds(model)
    if missing:
        raise UsageError(
            f"{path} is not calibrated: {len(missing)} observers have no thresholds "
            f"({few(missing)}); calibrate first, with `keras-int8nmt calibrate {path} --data "
            f"SENTENCES -o DIR`, and give DIR{otherwise}."
        )


def start_keras() -> None:
    """Imports Keras and TensorFlow, without their greetings, and loads the native library.

    Raises:
        UsageError: where a setting of the native library is wrong; no work has begun.
    """
    # INT8 runs on TensorFlow, whatever Keras is set to elsewhere.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    check_native()
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        _import()
    else:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        with _silent_stderr():
            _import()


def check_native() -> None:
    """Raises a UsageError where a setting of the native library is wrong, or it does not load."""
    try:
        native.info()
    except (RuntimeError, ValueError) as error:
        raise UsageError(str(error)) from error


def _import() -> None:
    from keras_int8nmt.models import transformer as transformer
    from keras_int8nmt.ops import functions as ops

    try:
        ops.native_info()
    except (RuntimeError, ValueError) as error:
        raise UsageError(str(error)) from error
    # TensorFlow also tells what it finds, and what it does not.
    ops.find_devices()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Holds back what native code writes to stderr; shown after all if there is an error.

    TensorFlow logs a few lines on import and when it looks for devices at every log level.
    """
    # Here: the other road has no use for it, and it takes long to import.
    import tempfile

    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
