"""The command `keras-int8nmt`: one file a command; each parses, calls and prints."""

from keras_int8nmt.cli.command_line import main

__all__ = ["main"]
