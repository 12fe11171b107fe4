"""An output that survives its process: a partial file, and a journal of what of it counts.

    OUTPUT.partial     what was written; what follows the journal's length does not count
    OUTPUT.progress    the journal, JSON: what run it is, and how far it has got

Content is on the disk before the journal tells of it, and the journal is replaced as a whole, so
that at any moment both together say a true thing. When all is written the partial file takes the
output's name. The journal has a checksum of itself and one of what it counts of the partial file:
what was changed since is refused, never gone on with. docs/corpus.md has the states and what a
kill leaves of each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import open_regular, parse_json, read_bytes
from keras_int8nmt.errors import KerasInt8nmtError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


FORMAT_VERSION = 2
# Those of version 1, which had no checksum.
_FIRST_ENTRIES = {"run", "lines", "bytes", "sha256", "failed", "on_error", "complete"}
# Of a journal: it holds no more of a run than its model, its options and its numbers.
_MOST_BYTES = 1 << 20
_PIECE = 1 << 20


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
        output_sha256: Of those bytes of the partial file.
        failed: Lines that could not be translated.
        on_error: What became of them.
        complete: Whether there are no more lines.
    """

    run: dict[str, Any] = field(default_factory=dict)
    lines: int = 0
    bytes: int = 0
    sha256: str = ""
    output_sha256: str = hashlib.sha256().hexdigest()
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
        self._written = hashlib.sha256()

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
        # The journal first: were the partial file emptied before, an earlier run's journal would
        # speak of an output that is not there. Afterwards it does not matter what is in it.
        self._write_journal(Progress(run, on_error=on_error))
        _sync_folder(self.path.parent)
        os.ftruncate(self._opened(), 0)
        self._written = hashlib.sha256()

    def resume(self, run: dict[str, Any], on_error: str) -> None:
        """Goes on after the last line that counts.

        Raises:
            ResumeError: when the run is another one, or a file was damaged or is in use.
        """
        found = self.read()
        assert found is not None
        self._require_same(found, run)
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
        # Another process may have begun anew meanwhile.
        self._require_same(found, run)
        self._written = self._checked_content(self.partial, found)
        os.ftruncate(self._opened(), found.bytes)
        os.lseek(self._opened(), found.bytes, os.SEEK_SET)
        self.progress = replace(found, on_error=on_error)

    def read(self) -> Progress | None:
        """The journal; None where there is none.

        Raises:
            ResumeError: when it is not as this release wrote it.
        """
        try:
            os.stat(self.journal)
        except FileNotFoundError:
            return None
        try:
            content = read_bytes(self.journal, _MOST_BYTES, ResumeError)
            return _progress(self.journal, parse_json(content))
        except ResumeError as error:
            if not os.path.lexists(self.journal):
                # Finished by another process at this moment.
                return None
            raise ResumeError(f"{str(error).rstrip('.')}; --force begins anew.") from error
        except ValueError as error:
            raise ResumeError(
                f"{self.journal} is damaged, not JSON: {error}; --force begins anew."
            ) from error

    @property
    def is_begun(self) -> bool:
        """Whether a run was killed before it had a journal: its partial file is there, empty."""
        try:
            found = os.lstat(self.partial)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and not found.st_size and self.read() is None

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
        written = self._written.copy()
        written.update(content)
        length, digest = self.progress.bytes + len(content), written.hexdigest()
        self._write_journal(replace(self.progress, bytes=length, output_sha256=digest, **progress))
        self._written = written

    def finish(self) -> None:
        """The partial file becomes the output."""
        if not self.progress.complete:
            self._write_journal(replace(self.progress, complete=True))
        self._take_name(self.progress)

    def finish_if_complete(self, run: dict[str, Any] | None = None) -> None:
        """What is left to do where a process ended while it finished.

        Args:
            run: What run is to be finished; None: whatever it is.

        Raises:
            ResumeError: when the run is another one, a file was damaged, or another process is
                finishing it.
        """
        found = self.read()
        if found is None or not found.complete:
            return
        if run is not None:
            self._require_same(found, run)
        try:
            with contextlib.suppress(FileNotFoundError):
                self._open(os.O_RDWR)
            # Under the lock: it may be finished by now, or begun anew.
            now = self.read()
            if now != found:
                if now is None:
                    return
                raise self._just_finished()
            if self._handle is not None and self._is_named(found):
                # Renamed already; a run that was to replace it was killed before it began.
                self.partial.unlink(missing_ok=True)
                self._let_go()
            elif self._handle is not None:
                self._checked_content(self.partial, found)
                os.ftruncate(self._handle, found.bytes)
            elif self.path.exists():
                self._checked_content(self.path, found)
            self._take_name(found)
        finally:
            handle, self._handle = self._handle, None
            if handle is not None:
                os.close(handle)

    def close(self) -> None:
        """Lets go of the files; of a run that has done nothing they are removed."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            # Where it has no more the name, it is finished, and what is there is another one's.
            if not self.progress.run or not self._is_partial(handle):
                return
            # As it is on the disk: an interrupt may have come before it was noted here.
            found = self.read()
            if found is not None and not found.lines and not found.complete:
                for path in (self.journal, self.partial):
                    path.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def _require_nothing_unfinished(self) -> None:
        if os.path.lexists(self.journal):
            raise ResumeError(
                f"{self.partial} is of a run that was not finished: --resume goes on with it, "
                "--force begins anew."
            )
        # Without a journal it is none of ours, or of a process that ended at once.
        if self.partial.exists() and (not self.partial.is_file() or self.partial.stat().st_size):
            raise ResumeError(f"{self.partial} exists already; --force replaces it.")

    def _require_same(self, found: Progress, run: dict[str, Any]) -> None:
        for part in dict.fromkeys((*found.run, *run)):
            then, now = found.run.get(part), run.get(part)
            if then != now:
                raise ResumeError(
                    f"{self.journal} is of a run with another {part} "
                    f"({_short(then)}, now {_short(now)}); --force begins anew."
                )

    def _checked_content(self, path: Path, found: Progress) -> Any:
        """The running SHA-256 of what counts of a file, which is what the journal says."""
        digest, left = hashlib.sha256(), found.bytes
        with open_regular(path, ResumeError) as file:
            if os.fstat(file.fileno()).st_size < left:
                raise ResumeError(
                    f"{path} is shorter than {self.journal} says; --force begins anew."
                )
            while left and (piece := file.read(min(left, _PIECE))):
                digest.update(piece)
                left -= len(piece)
        if left or digest.hexdigest() != found.output_sha256:
            raise ResumeError(
                f"{path} is not what {self.journal} says: it was changed after it was written; "
                "--force begins anew."
            )
        return digest

    def _is_named(self, found: Progress) -> bool:
        """Whether the output is there and the partial file, which is empty, is another run's."""
        if os.fstat(self._opened()).st_size or not found.bytes or not self.path.exists():
            return False
        try:
            self._checked_content(self.path, found)
        except ResumeError:
            return False
        return True

    def _open(self, flags: int) -> None:
        # Not through a link, and not waiting for who reads a FIFO: neither is made here.
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            self._handle = os.open(self.partial, flags, 0o666)
        except FileNotFoundError:
            raise
        except OSError as error:
            if self.partial.is_symlink() or (self.partial.exists() and not self.partial.is_file()):
                raise self._no_file() from error
            raise
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            self._let_go()
            raise self._no_file()
        self._lock()
        if not self._is_partial(self._opened()):
            # It was opened under this name, and is the output of another process by now.
            self._let_go()
            raise self._just_finished()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._let_go()
            raise ResumeError(f"Another process is writing {self.partial}.") from error
        except OSError:
            # A file system without locks.
            pass

    def _let_go(self) -> None:
        handle, self._handle = self._opened(), None
        os.close(handle)

    def _is_partial(self, handle: int) -> bool:
        return _is_file_of(handle, self.partial)

    def _no_file(self) -> ResumeError:
        return ResumeError(f"{self.partial} is no regular file; remove it first.")

    def _just_finished(self) -> ResumeError:
        return ResumeError(
            f"{self.path} has just been finished, or given up, by another process; start again to "
            "see what is left to do."
        )

    def _opened(self) -> int:
        assert self._handle is not None
        return self._handle

    def _take_name(self, finished: Progress) -> None:
        """Gives the partial file, if it is still there, the output's name; the journal goes."""
        _beside(self.journal, ".new").unlink(missing_ok=True)
        try:
            os.replace(self.partial, self.path)
        except FileNotFoundError:
            # Another process has done it: where files can't be locked, or before one was killed.
            if self._handle is not None and not _is_file_of(self._handle, self.path):
                raise
        _sync_folder(self.path.parent)
        # Unless another run has begun meanwhile, whose journal it is.
        if self.read() == finished:
            self.journal.unlink(missing_ok=True)

    def _write_journal(self, progress: Progress) -> None:
        draft = _beside(self.journal, ".new")
        try:
            # Never into what is there, which may be a link or a FIFO.
            draft.unlink(missing_ok=True)
            with open(draft, "xb", buffering=0) as file:
                content = _encoded(progress)
                if file.write(content) != len(content):
                    raise OSError(f"{draft} could not be written as a whole")
                os.fsync(file.fileno())
            os.replace(draft, self.journal)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        self.progress = progress


def _encoded(progress: Progress) -> bytes:
    entries = {"format_version": FORMAT_VERSION, **asdict(progress)}
    entries["journal_sha256"] = _sha256(entries)
    return json.dumps(entries, indent=1).encode() + b"\n"


def _progress(journal: Path, entries: Any) -> Progress:
    """What a journal says; ResumeError where it is not as this release wrote it."""

    def wrong(what: str) -> ResumeError:
        return ResumeError(f"{journal} {what}")

    if not isinstance(entries, dict):
        raise wrong("is damaged: it is no JSON object")
    if entries.keys() == _FIRST_ENTRIES:
        raise wrong("is of an earlier release, whose journals have no checksum")
    version = entries.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise wrong(f"is of a later release: its format is {version}, not {FORMAT_VERSION}")
    told = entries.pop("journal_sha256", None)
    if told != _sha256(entries):
        raise wrong("is damaged: it was changed after it was written, its checksum differs")
    entries.pop("format_version", None)
    # A journal with a good checksum may still be of other hands.
    kinds = {each.name: type(getattr(Progress(), each.name)) for each in fields(Progress)}
    for name, kind in kinds.items():
        value = entries.get(name)
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < 1 << 63):
            raise wrong(f"is damaged: {name} is {_short(value)}")
    if entries.keys() != kinds.keys():
        raise wrong(f"is damaged: it has the entries {_short(sorted(entries))}")
    return Progress(**entries)


def _sha256(entries: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _is_file_of(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


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
