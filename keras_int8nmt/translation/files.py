"""Files of any size: read, translated and written window by window, all at the same time."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from keras_int8nmt.files.compression import packer
from keras_int8nmt.files.journal import JournaledOutput, ResumeError
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.files.output import Output
from keras_int8nmt.files.records import LineFormat, Marks, Record
from keras_int8nmt.files.source import Source, Window
from keras_int8nmt.runtime.results import AsyncResult
from keras_int8nmt.translation.careful import CarefulTranslations, begin_lines
from keras_int8nmt.translation.results import Translation
from keras_int8nmt.translation.translator import Translator
from keras_int8nmt.translation.windows import UNDER_WAY, overlapped

# Lines that a warning names.
_NAMED = 20

# Hands a window to whoever translates it, for the translation of each text or why there is none.
Begin = Callable[[Window], AsyncResult[list[Translation | str]]]


@dataclass
class Done:
    """What a run did.

    Attributes:
        lines: Lines of the whole output.
        lines_before: Those that an earlier run had written.
        failed: Lines that could not be translated, in all runs.
        target_tokens: Tokens of this run's best hypotheses, end tokens included.
        unfinished: Lines of this run whose translations ran into the length limit.
        sources_cut: Lines of this run of which only the beginning was translated.
        seconds: Of this run, reading and writing included.
    """

    lines: int
    lines_before: int
    failed: int
    target_tokens: int = 0
    seconds: float = 0.0
    unfinished: int = 0
    sources_cut: int = 0

    def figures(self) -> dict[str, Any]:
        """As `keras-int8nmt translate --json` writes them."""
        return {
            "sentences": self.lines,
            "sentences_before": self.lines_before,
            "failed": self.failed,
            "unfinished": self.unfinished,
            "sources_cut": self.sources_cut,
            "target_tokens": self.target_tokens,
            "seconds": self.seconds,
            "tokens_per_second": self.target_tokens / self.seconds if self.seconds else 0.0,
        }

    def summary(self) -> str:
        """What was done, in one line."""
        before = f" ({self.lines_before} of them by an earlier run)" if self.lines_before else ""
        figures = self.figures()
        told = [
            f"{self.lines} lines{before} in {self.seconds:.1f} s",
            f"{figures['tokens_per_second']:.0f} tokens/s",
        ]
        for count, what in (
            (self.failed, "could not be translated"),
            (self.unfinished, "ran into the length limit"),
            (self.sources_cut, "cut before they were translated"),
        ):
            told += [f"{count} {what}"] if count else []
        return ", ".join(told)


def find_place(source: Source, output: Output) -> None:
    """Passes over the lines that are in the output already.

    Raises:
        ResumeError: when they are not what they were.
    """
    before = output.progress
    if source.skip(before.lines) and (not before.lines or source.sha256 == before.sha256):
        return
    raise ResumeError(
        f"{source.name} has changed: its first {before.lines} lines are not those that were "
        "translated; --force begins anew."
    )


def translate_lines(
    translator: Translator,
    source: Source,
    output: Output,
    form: LineFormat,
    *,
    path: str | os.PathLike[str] | None = None,
    on_error: str = "stop",
    bar: bool = True,
) -> Done:
    """Translates what is left of `source` into `output`, as many lines out as in.

    While the streams translate one window the next is read and tokenized and the one before is
    detokenized and written, so that they never wait; no more than these are in memory.

    Args:
        translator: With its tokenizer.
        source: At the line after the last in `output`.
        output: Where to.
        form: How a line is written.
        path: The output's name, whose suffix says how it is packed.
        on_error: What becomes of a line that can't be translated; in any case it is reported by
            its number. "stop": an error, and what was written before counts. "copy": the source
            stands for the translation; a line that can't even be read is copied as it is. "empty":
            the translation is empty, and so is a line that can't be read.
        bar: Show a progress bar where stderr is a terminal.

    Raises:
        TextFileError: A line can't be translated, and `on_error` is "stop".
        ResumeError: It can't be written, as on a full disk; what was written before counts.
    """

    def begin(window: Window) -> CarefulTranslations:
        return begin_lines(translator, source.name, window.first, window.lines)

    return translate_windows(begin, source, output, form, path=path, on_error=on_error, bar=bar)


def translate_windows(
    begin: Begin,
    source: Source,
    output: Output,
    form: LineFormat,
    *,
    path: str | os.PathLike[str] | None = None,
    on_error: str = "stop",
    bar: bool = True,
    under_way: Callable[[], int] = lambda: UNDER_WAY,
) -> Done:
    """`translate_lines` by whoever `begin` hands windows to.

    Args:
        begin: Returns at once; what it returns is waited for in the order of the windows.
        source, output, form, path, on_error, bar: As for `translate_lines`.
        under_way: Windows that are handed over before the first of them is waited for.
    """
    pack = packer(path)
    before = output.progress.lines
    done = Done(before, before, output.progress.failed)
    start = time.perf_counter()
    unfinished = _Numbers()
    try:
        with _bar(source, bar) as shown, _old_objects_left_alone():
            windows = overlapped(
                source.windows(),
                begin,
                _shower(shown),
                ahead=source.window > 1,
                under_way=under_way,
            )
            with closing(windows):
                for window, results in windows:
                    writer = _Writer(source.name, form, on_error)
                    content = pack(writer.content(window, results))
                    done.failed += writer.failed
                    _append(
                        output, content, lines=window.last, sha256=window.sha256, failed=done.failed
                    )
                    done.lines = window.last
                    done.target_tokens += writer.target_tokens
                    done.sources_cut += writer.sources_cut
                    unfinished.add(writer.unfinished)
                    done.unfinished = unfinished.count
                    done.seconds = time.perf_counter() - start
                    _show(shown, window, done)
            if not done.lines and not output.progress.complete:
                # Nothing, packed, is not a file of 0 bytes. In one step with the end, so that a run
                # that goes on does not write it twice.
                _append(output, pack(b""), complete=True)
            _finish(output)
    finally:
        # Of what was written, even if the run ends here.
        if unfinished.count:
            _warn(
                f"{source.name}: {unfinished} ran into the length limit; what follows may be "
                "missing, or they repeat themselves."
            )
    done.seconds = time.perf_counter() - start
    return done


def _bar(source: Source, wanted: bool) -> Any:
    """A bar for the bytes of a source, as a context; of None where nobody would see it."""
    if not wanted or not sys.stderr.isatty():
        return nullcontext()
    # Importing tqdm takes longer than opening a small model.
    from keras_int8nmt._progress import byte_bar

    return byte_bar(source.size, "translating", source.position)


def _warn(message: str) -> None:
    # Around the bar, if there is one.
    write = sys.modules["tqdm"].tqdm.write if "tqdm" in sys.modules else print
    write(f"keras-int8nmt: {message}", file=sys.stderr)


class _Numbers:
    """Numbers of lines, of which the first are named."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def add(self, numbers: list[int]) -> None:
        self.count += len(numbers)
        self._first += numbers[: _NAMED - len(self._first)]

    def __str__(self) -> str:
        named = ", ".join(map(str, self._first))
        more = self.count - len(self._first)
        which = f"line {named}" if self.count == 1 else f"lines {named}"
        return f"the translation{'s' * (self.count > 1)} of {which}" + (
            f" and of {more} more" if more else ""
        )


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Spares Python's garbage collector what TensorFlow has made, hundreds of thousands of objects.

    Lines come and go by the thousand, so it would walk through them again and again: about a
    twentieth of the time of a small model.
    """
    if gc.get_freeze_count():
        # Somebody did it already, and will undo it.
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Writer:
    """Lines of output out of windows and their translations."""

    def __init__(self, name: str, form: LineFormat, on_error: str) -> None:
        self._name, self._form, self._on_error = name, form, on_error
        self.failed = 0
        self.target_tokens = 0
        self.sources_cut = 0
        self.unfinished: list[int] = []

    def content(self, window: Window, results: Sequence[Translation | str]) -> bytes:
        """The lines, each with its end."""
        lines, translations = [], iter(results)
        for i, record in enumerate(window.records):
            number = window.first + i
            if i in window.errors:
                copied = self._on_error == "copy" and record.rest is not None
                self._report(number, window.errors[i], copied)
                lines.append(record.rest if copied else b"")
            elif record.text is None:
                lines.append(self._form.without(record))
            else:
                lines.append(self._line(number, record, next(translations)))
        lines.append(b"")
        return b"\n".join(lines)

    def _line(self, number: int, record: Record, result: Translation | str) -> bytes:
        assert record.text is not None
        if isinstance(result, str):
            copied = self._on_error == "copy"
            self._report(number, result, copied)
            return self._form.with_translation(record, record.text if copied else "")
        self.target_tokens += len(result.hypotheses[0].tokens)
        self.sources_cut += result.source_cut
        if not result.finished:
            self.unfinished.append(number)
        marks = Marks(result.finished, result.source_cut)
        return self._form.with_translation(record, result.text, marks)

    def _report(self, number: int, reason: str, copied: bool) -> None:
        where = f"{self._name}, line {number}: {reason}"
        if self._on_error == "stop":
            raise TextFileError(where)
        self.failed += 1
        _warn(f"{where}; {'copied' if copied else 'left empty'}")


def _append(output: Output, content: bytes, **progress: Any) -> None:
    try:
        output.append(content, **progress)
    except OSError as error:
        _raise_with_hint(output, error)


def _finish(output: Output) -> None:
    try:
        output.finish()
    except OSError as error:
        _raise_with_hint(output, error)


def _raise_with_hint(output: Output, error: OSError) -> None:
    if not isinstance(output, JournaledOutput):
        raise error
    raise ResumeError(
        f"{output.partial} can't be written: {error.strerror or error}. "
        f"{output.progress.lines} lines are safe; --resume goes on after them."
    ) from error


def _shower(bar: Any) -> Callable[[Window, int], None] | None:
    """Moves the bar by the share of a window that is finished; None where nobody sees it."""
    if bar is None:
        return None

    def show(window: Window, finished: int) -> None:
        # As if all lines were as long; `_show` puts it right at the window's end.
        bar.update((window.position - window.start) * finished / len(window.records))

    return show


def _show(bar: Any, window: Window, done: Done) -> None:
    if bar is None:
        return
    bar.set_postfix_str(f"{done.target_tokens / done.seconds:.0f} tokens/s", refresh=False)
    bar.update(window.position - bar.n)
