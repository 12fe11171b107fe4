"""The command `keras-int8nmt`: parses, calls the command, prints what is wrong."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from keras_int8nmt._version import __version__
from keras_int8nmt.cli.commands import COMMANDS, command_file
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.lines import check_writable_file, write_lines

_USER_ERROR = 2
# Errors that a user can mend, shown as one line.
_USER_ERRORS = (KerasInt8nmtError, OSError, ImportError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The words after the command's name; by default those of this process.

    Returns:
        The exit status: 0, or 2 after an error that the user can mend (one line on stderr).
    """
    options = vars(make_parser().parse_args(arguments))
    name = options.pop("command")
    json_path = options.pop("json")
    modules = options.pop("modules")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _import(modules)
            check_writable_file(json_path, force=True)
            figures = command_file(name).run(**options)
        if json_path is not None:
            write_lines(json_path, [json.dumps(figures, indent=1, ensure_ascii=False)])
    except BrokenPipeError:
        # Who read our output has gone, as `head` does. Nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except _USER_ERRORS as error:
        print(f"keras-int8nmt {name}: {_message(error)}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="keras-int8nmt", description="INT8 translation with Keras on ordinary CPUs."
    )
    parser.add_argument("--version", action="version", version=f"keras-int8nmt {__version__}")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="a Python module that is imported first, such as one that registers a tokenizer; "
        "looked for in the current folder, too",
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_CommandParser
    )
    for name, summary in COMMANDS.items():
        commands.add_parser(name, command=name, help=summary, description=summary)
    return parser


def _import(modules: Sequence[str]) -> None:
    """Imports modules that the user names; nothing that a file says is ever imported."""
    here = os.getcwd()
    if modules and here not in sys.path:
        # As `python -m` has it, but last: it hides nothing that is installed.
        sys.path.append(here)
    for name in modules:
        importlib.import_module(name)


class _CommandParser(argparse.ArgumentParser):
    """The parser of one command, whose options are added when it is the one that is asked for.

    So no command waits for what another one imports.
    """

    def __init__(self, *args: Any, command: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._command: str | None = command

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._command is not None:
            self.add_argument("--json", metavar="FILE", help="also write the figures as JSON")
            command_file(self._command).add_options(self)
            self._command = None
        return super().parse_known_args(args, namespace)


def _message(error: Exception) -> str:
    """An error in one line; of a file by its name, without the system's number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        return f"{name!r} can't be opened: {error.strerror}."
    return " ".join(str(error).split())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"keras-int8nmt: {message}", file=sys.stderr)
