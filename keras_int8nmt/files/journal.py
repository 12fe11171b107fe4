"""An output that survives its process: a partial file, and a journal of what of it counts.

    OUTPUT.partial     what was written; what follows the journal's length does not count
    OUTPUT.progress    the journal, JSON: what run it is, and how far it has got

Content is on the disk before the journal tells of it, and the journal is replaced as a whole, so
that at any moment both together say a true thing. When all is written the partial file takes the
output's name.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


class ResumeError(KerasInt8nmtError, ValueError):
    """An output can't be begun or gone on with; the message says why and what can be done."""


@dataclass(frozen=True)
class Progress:
    """How far a run has got.

    Attributes:
        run: What run it is, JSON values: it goes on only with the same.
        lines: Lines of the input that are done with.
        bytes: Length of the partial file up to there.
        sha256: Of those lines of the input.
        failed: Lines that could not be translated.
        on_error: What became of them.
        complete: Whether there are no more lines.
    """

    run: dict[str, Any] = field(default_factory=dict)
    lines: int = 0
    bytes: int = 0
    sha256: str = ""
    failed: int = 0
    on_error: str = ""
    complete: bool = False


class JournaledOutput:
    """The output of a run, locked against other processes; close it in any case.

    Args:
        path: Where the output is to be in the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial, self.journal = _beside(path, ".partial"), _beside(path, ".progress")
        self.progress = Progress()
        self._handle: int | None = None

    def start(self, run: dict[str, Any], on_error: str, force: bool = False) -> None:
        """Begins anew.

        Raises:
            ResumeError: when there is something unfinished, unless `force`, or another process is
                writing.
        """
        if not force:
            self._require_nothing_unfinished()
        # Not truncated before it is known that nobody else has it.
        self._open(os.O_RDWR | os.O_CREAT)
        os.ftruncate(self._opened(), 0)
        self._write_journal(Progress(run, on_error=on_error))
        _sync_folder(self.path.parent)

    def resume(self, run: dict[str, Any], on_error: str) -> None:
        """Goes on after the last line that counts.

        Raises:
            ResumeError: when the run is another one, or a file was damaged or is in use.
        """
        found = self.read()
        assert found is not None
        for part, then in found.run.items():
            if run.get(part) != then:
                raise ResumeError(
                    f"{self.journal} is of a run with another {part} "
                    f"({_short(then)}, now {_short(run.get(part))}); --force begins anew."
                )
        if found.failed and found.on_error != on_error:
            raise ResumeError(
                f"{self.journal}: {found.failed} lines were treated with --on-error "
                f"{found.on_error}; go on with that, or begin anew with --force."
            )
        with contextlib.suppress(FileNotFoundError):
            self._open(os.O_RDWR)
        # Under the lock: the other process may have gone on since, or finished.
        found = self.read()
        if found is None:
            raise self._just_finished()
        if self._handle is None:
            raise ResumeError(f"{self.partial} is missing; --force begins anew.")
        if os.fstat(self._opened()).st_size < found.bytes:
            raise ResumeError(
                f"{self.partial} is shorter than {self.journal} says; --force begins anew."
            )
        os.ftruncate(self._opened(), found.bytes)
        os.lseek(self._opened(), found.bytes, os.SEEK_SET)
        self.progress = replace(found, on_error=on_error)

    def read(self) -> Progress | None:
        """The journal; None where there is none."""
        try:
            entries = json.loads(self.journal.read_bytes())
            return Progress(**entries)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ResumeError(f"{self.journal} is damaged; --force begins anew.") from error

    @property
    def safe_lines(self) -> int:
        """Lines that the journal counts."""
        found = self.read()
        return 0 if found is None else found.lines

    def append(self, content: bytes, **progress: Any) -> None:
        """Writes what follows, and what of `Progress` has changed with it.

        Raises:
            OSError: when it can't be written, as on a full disk; what was written before counts.
        """
        handle, rest = self._opened(), memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
        length = self.progress.bytes + len(content)
        self._write_journal(replace(self.progress, bytes=length, **progress))

    def finish(self) -> None:
        """The partial file becomes the output."""
        if not self.progress.complete:
            self._write_journal(replace(self.progress, complete=True))
        os.replace(self.partial, self.path)
        _sync_folder(self.path.parent)
        self.journal.unlink()

    def finish_if_complete(self) -> None:
        """What is left to do where a process ended while it finished."""
        found = self.read()
        if found is not None and found.complete:
            if self.partial.exists():
                os.replace(self.partial, self.path)
                _sync_folder(self.path.parent)
            self.journal.unlink()

    def close(self) -> None:
        """Lets go of the files; of a run that has done nothing they are removed."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            # As it is on the disk: an interrupt may have come before it was noted here.
            found = self.read() if self.progress.run else None
            if found is not None and not found.lines and not found.complete:
                for path in (self.journal, self.partial):
                    path.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def _require_nothing_unfinished(self) -> None:
        if self.journal.exists():
            raise ResumeError(
                f"{self.partial} is of a run that was not finished: --resume goes on with it, "
                "--force begins anew."
            )
        # Without a journal it is none of ours, or of a process that ended at once.
        if self.partial.exists() and self.partial.stat().st_size:
            raise ResumeError(f"{self.partial} exists already; --force replaces it.")

    def _open(self, flags: int) -> None:
        self._handle = os.open(self.partial, flags, 0o666)
        if fcntl is None:
            return
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._handle)
            self._handle = None
            raise ResumeError(f"Another process is writing {self.partial}.") from error
        except OSError:
            # A file system without locks.
            pass
        if not self._is_partial(self._handle):
            # It was opened under this name, and is the output of another process by now.
            os.close(self._handle)
            self._handle = None
            raise self._just_finished()

    def _is_partial(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.partial))
        except FileNotFoundError:
            return False

    def _just_finished(self) -> ResumeError:
        return ResumeError(
            f"{self.path} has just been finished, or given up, by another process; start again to "
            "see what is left to do."
        )

    def _opened(self) -> int:
        assert self._handle is not None
        return self._handle

    def _write_journal(self, progress: Progress) -> None:
        draft = _beside(self.journal, ".new")
        content = json.dumps(asdict(progress), indent=1).encode() + b"\n"
        try:
            with open(draft, "wb", buffering=0) as file:
                if file.write(content) != len(content):
                    raise OSError(f"{draft} could not be written as a whole")
                os.fsync(file.fileno())
            os.replace(draft, self.journal)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        self.progress = progress


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _sync_folder(folder: Path) -> None:
    """So that a new name survives a power cut; not every system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
