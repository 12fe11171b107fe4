"""Where translations go: a file that survives its process, or a stream."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from keras_int8nmt.files.compression import packer
from keras_int8nmt.files.journal import JournaledOutput, Progress, ResumeError
from keras_int8nmt.files.lines import check_writable_file

# What becomes of a line that can't be translated; the first where nothing is said.
ON_ERROR = ("stop", "copy", "empty")


class Output(Protocol):
    """What `translate_lines` writes to."""

    @property
    def progress(self) -> Progress:
        """How far it has got."""

    def append(self, content: bytes, **progress: Any) -> None:
        """Writes what follows; see `JournaledOutput`."""

    def finish(self) -> None:
        """All is written."""

    def close(self) -> None:
        """Lets go of it, finished or not."""


class StreamOutput:
    """Stdout, a pipe or a device: written as it comes, and not to be resumed."""

    def __init__(self, path: Path | None) -> None:
        self.progress = Progress()
        sys.stdout.flush()
        self._own = None if path is None else open(path, "wb")  # noqa: SIM115
        self._file = self._own or sys.stdout.buffer

    def append(self, content: bytes, **progress: Any) -> None:
        self._file.write(content)
        self._file.flush()
        self.progress = Progress(**progress)

    def finish(self) -> None:
        pass

    def close(self) -> None:
        if self._own is not None:
            self._own.close()


def open_output(
    path: str | os.PathLike[str] | None,
    describe: Callable[[], dict[str, Any]],
    on_error: str,
    *,
    force: bool = False,
    resume: bool = False,
) -> Output | None:
    """Opens the output of a run, at its beginning or where it stopped.

    Args:
        path: The file; None: stdout.
        describe: Says what run it is, see `Progress.run`; not asked for a stream.
        on_error: See `Progress`.
        force: Replace what is there.
        resume: Go on where an earlier run stopped, if there was one.

    Returns:
        None when it is finished already.

    Raises:
        ResumeError, TextFileError, CompressedFileError: why it can't be opened.
    """
    stream = path is None or (Path(path).exists() and not Path(path).is_file())
    if stream and resume:
        raise ResumeError("--resume needs a file to write: -o FILE.")
    check_writable_file(path, force or resume)
    packer(path)
    if path is None or stream:
        return StreamOutput(None if path is None else Path(path))
    output = JournaledOutput(Path(path))
    try:
        run = None
        if resume and output.read() is not None:
            run = describe()
            output.finish_if_complete(run)
        if run is not None and output.read() is not None:
            output.resume(run, on_error)
        elif resume and output.path.exists() and not output.is_begun:
            return None
        else:
            output.start(run or describe(), on_error, force)
    except BaseException:
        output.close()
        raise
    return output
