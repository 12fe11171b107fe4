"""The release, for whoever writes it into a file or prints it."""

__version__ = "0.1.0"
