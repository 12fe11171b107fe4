"""The command `keras-int8nmt`: parses, calls the command, prints what it gives."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from keras_int8nmt.cli.parser import parser
from keras_int8nmt.files.lines import check_writable_file

_USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The words after the command's name; by default those of this process.

    Returns:
        The exit status: 0, or 2 after an error that the user can mend (one line on stderr).
    """
    options = vars(parser().parse_args(arguments))
    name = options.pop("command")
    json_path = options.pop("json")
    commands = _import_commands()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            check_writable_file(json_path, force=True)
            commands.check_native()
            figures = getattr(commands, name)(**options)
        if json_path is not None:
            commands.write_json(json_path, figures)
    except BrokenPipeError:
        # Who read our output has gone, as `head` does. Nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except commands.USER_ERRORS as error:
        message = " ".join(str(error).split())
        print(f"keras-int8nmt {name}: {message}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        return 130
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"keras-int8nmt: {message}", file=sys.stderr)


def _import_commands() -> Any:
    # INT8 runs on TensorFlow, whatever Keras is set to elsewhere.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return importlib.import_module("keras_int8nmt.cli.commands")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with _silent_stderr():
        return importlib.import_module("keras_int8nmt.cli.commands")


@contextmanager
def _silent_stderr() -> Any:
    """Holds back what native code writes to stderr; shown after all if there is an error.

    TensorFlow logs a few lines on import at every log level.
    """
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
