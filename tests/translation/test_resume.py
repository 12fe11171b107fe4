"""Runs that end in the middle: at any step, on a full disk, and what `--resume` refuses."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from pathlib import Path

import pytest
from helpers.file_runs import SUFFIXES, TEXTS, FakeTranslator, packed, translate, unpacked

from keras_int8nmt.files.journal import JournaledOutput, ResumeError
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.files.output import open_output

# Not "close": the system does that for the dead.
CALLS = ("open", "write", "fsync", "replace", "ftruncate")


class Killed(BaseException):
    """Stands for the end of the process."""


class Crash:
    """From the `n`-th call of the system on nothing more is done."""

    def __init__(self, monkeypatch, n):
        self.left = n
        for name in CALLS:
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))
        monkeypatch.setattr(Path, "unlink", self.counted(Path.unlink))

    def counted(self, call):
        def counted(*arguments, **options):
            if self.left == 0:
                raise Killed
            self.left -= 1
            return call(*arguments, **options)

        return counted


@pytest.fixture
def tmp_path(folder_in_memory):
    return folder_in_memory


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in"
    path.write_text("".join(text + "\n" for text in TEXTS), "utf-8")
    return path


def check_ending_at_each_step(tmp_path, source, suffix, meanwhile=lambda n, target: None):
    """Runs that end at step 0, 1 and so on until one does not, each gone on with; their number."""
    whole = tmp_path / f"whole{suffix}"
    translate(source, whole)
    n, ended = 0, False
    while not ended:
        target = tmp_path / f"out{n}{suffix}"
        with pytest.MonkeyPatch.context() as patch:
            Crash(patch, n)
            try:
                translate(source, target)
                ended = True
            except Killed:
                pass
        meanwhile(n, target)
        resume(source, target)
        assert target.read_bytes() == whole.read_bytes(), n
        assert not list(tmp_path.glob("out*.p*")), n
        n += 1
    return n


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_that_ends_at_any_step_is_gone_on_with(tmp_path, source, suffix):
    def end_again(n, target):
        if n % 3 == 0:
            # And a second time, somewhere else.
            with pytest.MonkeyPatch.context() as patch:
                Crash(patch, 7 + n % 19)
                with contextlib.suppress(Killed):
                    resume(source, target)

    assert check_ending_at_each_step(tmp_path, source, suffix, end_again) > 30
    whole = tmp_path / f"whole{suffix}"
    assert unpacked(whole).decode().splitlines() == [text.upper() for text in TEXTS]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_over_nothing_ends_in_the_same_bytes_wherever_it_is_interrupted(tmp_path, suffix):
    source = packed(tmp_path / f"in{suffix}", b"")
    assert check_ending_at_each_step(tmp_path, source, suffix) > 5


def resume(source, target):
    try:
        return translate(source, target, resume=True)
    except AssertionError:
        # `translate` wants something to do.
        assert target.exists()
        return None


def test_what_follows_the_journal_does_not_count(tmp_path, source):
    target = tmp_path / "out"
    with pytest.raises(Killed):
        translate(source, target, translator=killing(3))
    journal = json.loads((tmp_path / "out.progress").read_text())
    assert journal["lines"] == 12
    with (tmp_path / "out.partial").open("ab") as file:
        file.write(b"half a li")
    done = translate(source, target, resume=True)
    assert (done.lines, done.lines_before) == (23, 12)
    assert target.read_text("utf-8").splitlines() == [text.upper() for text in TEXTS]


def killing(window):
    windows = iter(range(100))

    def before(_):
        if next(windows) == window:
            raise Killed

    return FakeTranslator(before)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_loses_nothing(tmp_path, source, monkeypatch, code):
    target, write, calls = tmp_path / "out", os.write, itertools.count()

    def full(handle, content):
        call = next(calls)
        if call > 2:
            raise OSError(code, os.strerror(code))
        # Of the third window a part still fits.
        return write(handle, content[:5] if call == 2 else content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ResumeError, match=rf"{os.strerror(code)}\. 8 lines are safe"):
            translate(source, target)
    translate(source, target, resume=True)
    assert target.read_text("utf-8").splitlines() == [text.upper() for text in TEXTS]


@pytest.fixture
def stopped(tmp_path, source):
    """An output of which 8 lines are there."""
    with pytest.raises(Killed):
        translate(source, tmp_path / "out", translator=killing(2))
    return tmp_path / "out"


def test_nothing_unfinished_is_overwritten(stopped, source):
    with pytest.raises(ResumeError, match="--resume goes on with it, --force begins anew"):
        translate(source, stopped)
    assert translate(source, stopped, force=True).lines_before == 0
    with pytest.raises(TextFileError, match="exists already"):
        translate(source, stopped)


def test_a_foreign_partial_file_is_not_overwritten(tmp_path, source):
    (tmp_path / "out.partial").write_text("precious")
    with pytest.raises(ResumeError, match="exists already"):
        translate(source, tmp_path / "out")
    assert (tmp_path / "out.partial").read_text() == "precious"


def test_another_run_is_refused(stopped, source):
    with pytest.raises(ResumeError, match=r"another run \(1, now 2\)"):
        translate(source, stopped, run={"run": 2}, resume=True)


def test_other_lines_are_refused(stopped, source):
    lines = source.read_text("utf-8").splitlines(keepends=True)
    for changed in (["other\n", *lines[1:]], lines[:5]):
        source.write_text("".join(changed), "utf-8")
        with pytest.raises(ResumeError, match="first 8 lines are not those"):
            translate(source, stopped, resume=True)
    # What was not translated yet may be corrected: the result is that of one run over it.
    source.write_text("".join([*lines[:12], "corrected\n", *lines[13:]]), "utf-8")
    translate(source, stopped, resume=True)
    assert stopped.read_text("utf-8").splitlines()[12] == "CORRECTED"


def test_damage_is_told(stopped, source):
    partial, journal = (stopped.with_name(stopped.name + s) for s in (".partial", ".progress"))
    content, told = partial.read_bytes(), journal.read_text()
    partial.write_bytes(content[:5])
    with pytest.raises(ResumeError, match="shorter"):
        translate(source, stopped, resume=True)
    partial.unlink()
    with pytest.raises(ResumeError, match="missing"):
        translate(source, stopped, resume=True)
    partial.write_bytes(content)
    for damaged in ("", "{}x", '{"no": 1}', "[1]"):
        journal.write_text(damaged)
        with pytest.raises(ResumeError, match="damaged"):
            translate(source, stopped, resume=True)
    journal.write_text(told)
    assert translate(source, stopped, resume=True).lines == 23


def test_lines_that_were_copied_stay_so(tmp_path):
    source = tmp_path / "in"
    source.write_text("\n".join(["BROKEN", *TEXTS]) + "\n", "utf-8")
    with pytest.raises(Killed):
        translate(source, tmp_path / "out", on_error="copy", translator=killing(8))
    with pytest.raises(ResumeError, match="1 lines were treated with --on-error copy"):
        translate(source, tmp_path / "out", on_error="empty", resume=True)
    done = translate(source, tmp_path / "out", on_error="copy", resume=True)
    assert done.failed == 1


def test_two_processes_do_not_write_one_output(tmp_path, source):
    other = JournaledOutput(tmp_path / "out")
    other.start({"run": 1}, "stop")
    for options in ({"force": True}, {"resume": True}):
        with pytest.raises(ResumeError, match="Another process is writing"):
            translate(source, tmp_path / "out", **options)
    other.close()
    assert list(tmp_path.iterdir()) == [source]
    assert translate(source, tmp_path / "out").lines == 23


class OtherFinishes:
    """Another process finishes the output when this one opens the partial file, or just before."""

    def __init__(self, monkeypatch, target, when):
        self.target, self.partial = target, target.with_name(target.name + ".partial")
        real = os.open

        def opened(path, *arguments, **options):
            if os.fspath(path) != os.fspath(self.partial):
                return real(path, *arguments, **options)
            if when == "before":
                self.finish()
            handle = real(path, *arguments, **options)
            if when == "after":
                self.finish()
            return handle

        monkeypatch.setattr(os, "open", opened)

    def finish(self):
        os.replace(self.partial, self.target)
        self.target.with_name(self.target.name + ".progress").unlink()


@pytest.mark.parametrize(
    ("options", "when", "locks"),
    [
        ({"resume": True}, "before", True),
        ({"resume": True}, "after", True),
        ({"force": True}, "after", True),
        ({"resume": True}, "before", False),
        ({"resume": True}, "after", False),
    ],
)
def test_an_output_that_another_process_has_just_finished_is_left_as_it_is(
    stopped, source, options, when, locks
):
    content = stopped.with_name("out.partial").read_bytes() + b"and what the other one wrote\n"
    stopped.with_name("out.partial").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        OtherFinishes(patch, stopped, when)
        if not locks:
            patch.setattr("keras_int8nmt.files.journal.fcntl", None)
        with pytest.raises(ResumeError, match="has just been finished"):
            translate(source, stopped, **options)
    assert stopped.read_bytes() == content
    assert sorted(p.name for p in stopped.parent.iterdir()) == ["in", "out"]


def test_a_stream_is_not_resumed(source):
    for path in (None, "/dev/null"):
        with pytest.raises(ResumeError, match="needs a file"):
            open_output(path, dict, "stop", resume=True)
    assert translate(source, "/dev/null").lines == 23


def test_the_input_may_be_the_output(tmp_path):
    path = packed(tmp_path / "both.gz", b"one\ntwo\n")
    translate(path, path, force=True, window=1)
    assert unpacked(path) == b"ONE\nTWO\n"
