"""The journal of an output: every two kills, two finishers, and no change of it is believed."""

from __future__ import annotations

import errno
import gc
import json
import os
from pathlib import Path

import pytest
from helpers.file_runs import FakeTranslator, translate

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.journal import JournaledOutput, Progress, ResumeError, _sha256
from keras_int8nmt.files.output import open_output

# What changes a file; not "close": the system does that for the dead.
CALLS = ("write", "fsync", "replace", "ftruncate")


@pytest.fixture
def tmp_path(folder_in_memory):
    return folder_in_memory


@pytest.fixture(scope="module", autouse=True)
def _frozen_objects_counted_once():
    """Each run asks whether any are; to be told, Python counts the million of `conftest.py`."""
    count = gc.get_freeze_count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "get_freeze_count", lambda: count)
        yield


class Killed(BaseException):
    """Stands for the end of the process."""


class Kill:
    """The process ends at its `n`-th step; whether there were as many is in `happened`."""

    def __init__(self, patch, n):
        self.left, self.happened = n, False
        for name in CALLS:
            patch.setattr(os, name, self.counted(getattr(os, name)))
        patch.setattr(os, "fsync", self.counted(lambda handle: None))
        patch.setattr(os, "open", self.counted(os.open, lambda path, flags, *_: flags & os.O_CREAT))
        patch.setattr(Path, "unlink", self.counted(Path.unlink))

    def counted(self, call, counts=lambda *_: True):
        def counted(*arguments, **options):
            # A process that has ended does nothing any more, whoever still tries to clean up.
            if self.happened or (counts(*arguments) and self.left == 0):
                self.happened = True
                raise Killed
            self.left -= bool(counts(*arguments))
            return call(*arguments, **options)

        return counted


class Upper:
    """A model: what it makes of a text."""

    errors = (RuntimeError,)

    def __init__(self, mark):
        self.mark = mark

    def begin(self, texts, name=None):
        return FakeTranslator().begin([f"{self.mark} {text}" for text in texts], name)


SOURCE = "one\ntwo\nthree\n"
MODELS = ("a", "b")
WANTED = {m: "".join(f"{m} {t}\n" for t in SOURCE.split()).upper() for m in MODELS}


def run(place, model, *, kill=None, **how):
    """One command; what became of it: "done", "killed", or what it says."""
    with pytest.MonkeyPatch.context() as patch:
        killer = Kill(patch, -1 if kill is None else kill)
        try:
            translate(
                place / "in",
                place / "out",
                window=2,
                run={"model": model},
                translator=Upper(model),
                **how,
            )
        except AssertionError:
            return "finished"
        except Killed:
            return "killed"
        except KerasInt8nmtError as error:
            return str(error)
        return "killed" if killer.happened else "done"


def steps(place, model, before, **how):
    """Each state that a kill of a command leaves: the files by name, from the state `before`."""
    n = 0
    while True:
        put(place, before)
        outcome = run(place, model, kill=n, **how)
        yield taken(place)
        if outcome != "killed":
            return
        n += 1


def put(place, files):
    for path in place.iterdir():
        path.unlink()
    for name, content in files.items():
        (place / name).write_bytes(content)


def taken(place):
    return {path.name: path.read_bytes() for path in place.iterdir()}


COMMANDS = [
    ("a", {}),
    ("a", {"resume": True}),
    ("a", {"force": True}),
    ("b", {"resume": True}),
    ("b", {"force": True}),
]


def distinct(states):
    return list({json.dumps({n: c.decode() for n, c in s.items()}): s for s in states}.values())


def test_after_every_two_kills_resume_gives_a_whole_output_or_says_why_not(tmp_path):
    """First a run of one model, then any command, of this model or another; killed anywhere."""
    once = distinct(steps(tmp_path, "a", {"in": SOURCE.encode()}))
    assert len(once) > 10
    twice = distinct(
        state
        for first in once
        for model, how in COMMANDS
        for state in steps(tmp_path, model, first, **how)
    )
    assert len(twice) > 20
    for state in twice:
        for model, other in (MODELS, MODELS[::-1]):
            put(tmp_path, state)
            said = run(tmp_path, model, resume=True)
            check_outcome(tmp_path, state, model, other, said)


def check_outcome(place, state, model, other, said):
    files = taken(place)
    if said == "done":
        assert files == {"in": SOURCE.encode(), "out": WANTED[model].encode()}, state
    elif said == "finished":
        # It may be another model's: of a finished output there is no journal.
        assert files.keys() == {"in", "out"}, state
        assert files["out"].decode() in WANTED.values(), state
    else:
        # Only where the other model is in the middle, and nothing was touched: it goes on.
        assert f'another model ("{other}", now "{model}")' in said, (state, said)
        assert {n: c for n, c in files.items() if not n.endswith(".new")} == {
            n: c for n, c in state.items() if not n.endswith(".new")
        }
        assert run(place, other, resume=True) in ("done", "finished")
        assert taken(place)["out"].decode() == WANTED[other]


def test_a_finished_output_that_was_not_renamed_survives_force_that_was_killed(tmp_path):
    put(tmp_path, {"in": SOURCE.encode()})
    n = 0
    while not (run(tmp_path, "a", kill=n) == "killed" and is_complete(tmp_path)):
        put(tmp_path, {"in": SOURCE.encode()})
        n += 1
    finished = taken(tmp_path)
    for state in steps(tmp_path, "b", finished, force=True):
        put(tmp_path, state)
        JournaledOutput(tmp_path / "out").finish_if_complete()
        if (tmp_path / "out").exists():
            assert (tmp_path / "out").read_text() in WANTED.values()


def is_complete(place):
    found = JournaledOutput(place / "out").read()
    return found is not None and found.complete


@pytest.fixture
def begun(tmp_path):
    """An output with three lines; closed at the end."""
    output = JournaledOutput(tmp_path / "out")
    output.start({"model": "a"}, "stop")
    output.append(b"eins\nzwei\ndrei\n", lines=3, sha256="s")
    yield output
    output.close()


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("name", ["replace", "unlink"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_of_two_finishers_neither_fails_when_the_output_is_whole(
    begun, monkeypatch, locks, name, when
):
    """Another process finishes when this one is about to rename or to remove the journal."""
    if not locks:
        monkeypatch.setattr("keras_int8nmt.files.journal.fcntl", None)
    said = []

    def other():
        try:
            JournaledOutput(begun.path).finish_if_complete({"model": "a"})
        except ResumeError as error:
            said.append(str(error))

    home = os if name == "replace" else Path
    real = getattr(home, name)

    def meanwhile(path, *rest, **options):
        if os.fspath(path) != os.fspath(begun.partial if name == "replace" else begun.journal):
            return real(path, *rest, **options)
        monkeypatch.setattr(home, name, real)
        if when == "before":
            other()
            return real(path, *rest, **options)
        result = real(path, *rest, **options)
        other()
        return result

    monkeypatch.setattr(home, name, meanwhile)
    begun.finish()
    assert taken(begun.path.parent) == {"out": b"eins\nzwei\ndrei\n"}
    assert all("Another process is writing" in s or "just been finished" in s for s in said)


def test_who_finishes_leaves_the_journal_of_a_run_that_has_begun_since(begun, monkeypatch):
    real, others = os.replace, []

    def replaced(source, target):
        real(source, target)
        if os.fspath(target) == os.fspath(begun.path):
            others.append(JournaledOutput(begun.path))
            others[0].start({"model": "b"}, "stop", force=True)

    monkeypatch.setattr(os, "replace", replaced)
    begun.finish()
    begun.close()
    (other,) = others
    assert other.read() == Progress({"model": "b"}, on_error="stop")
    assert other.partial.exists()
    other.close()


def test_a_complete_output_of_another_run_is_not_finished_for_this_one(begun, monkeypatch):
    begun._write_journal(Progress(**{**vars(begun.progress), "complete": True}))
    monkeypatch.setattr(begun, "_is_partial", lambda _: False)
    begun.close()
    with pytest.raises(ResumeError, match=r'another model \("a", now "b"\)'):
        open_output(begun.path, lambda: {"model": "b"}, "stop", resume=True)
    assert open_output(begun.path, lambda: {"model": "a"}, "stop", resume=True) is None
    assert begun.path.read_bytes() == b"eins\nzwei\ndrei\n"


def resumed(begun):
    output = JournaledOutput(begun.path)
    try:
        output.finish_if_complete()
        output.resume({"model": "a"}, "stop")
        return output.progress
    finally:
        output.close()


def test_every_changed_byte_of_the_journal_is_told_or_means_the_same(begun):
    begun.close()
    content, progress = begun.journal.read_bytes(), begun.read()
    same = 0
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 7
        begun.journal.write_bytes(changed)
        try:
            # A line feed may have become a tab, which JSON passes over as well.
            assert begun.read() == progress, bytes(changed)
            same += 1
        except ResumeError:
            with pytest.raises(ResumeError, match="--force begins anew"):
                resumed(begun)
    assert same < len(content) / 10
    assert begun.partial.read_bytes() == b"eins\nzwei\ndrei\n"


def test_every_changed_byte_of_what_counts_is_told(begun):
    begun.close()
    content = begun.partial.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1
        begun.partial.write_bytes(changed)
        with pytest.raises(ResumeError, match="changed after it was written"):
            resumed(begun)
    # What follows does not count, and is no damage.
    begun.partial.write_bytes(content + b"vier")
    assert resumed(begun).bytes == len(content)
    assert begun.partial.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        {"run": 5},
        {"run": None},
        {"lines": "3"},
        {"lines": -1},
        {"lines": True},
        {"lines": 3.0},
        {"bytes": -1},
        {"bytes": 1.5},
        {"bytes": 1 << 63},
        {"bytes": None},
        {"sha256": 1},
        {"output_sha256": None},
        {"failed": "0"},
        {"on_error": None},
        {"complete": "no"},
        {"complete": 1},
        {"more": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("sealed", [True, False])
def test_wrong_types_are_told(begun, change, sealed):
    begun.close()
    entries = {**json.loads(begun.journal.read_text()), **change}
    if sealed:
        del entries["journal_sha256"]
        entries["journal_sha256"] = _sha256(entries)
    begun.journal.write_text(json.dumps(entries))
    with pytest.raises(ResumeError, match=r"out\.progress.* is damaged: .*; --force begins anew"):
        resumed(begun)
    assert begun.partial.stat().st_size == 15


def test_a_journal_of_the_release_before_is_refused_in_a_sentence(begun):
    begun.close()
    old = {
        "run": {"model": "a"},
        "lines": 3,
        "bytes": 15,
        "sha256": "s",
        "failed": 0,
        "on_error": "stop",
        "complete": False,
    }
    for complete in (False, True):
        begun.journal.write_text(json.dumps({**old, "complete": complete}, indent=1) + "\n")
        with pytest.raises(ResumeError, match=r"of an earlier release, .*--force begins anew"):
            resumed(begun)
    begun.journal.write_text(json.dumps({"format_version": 3}))
    with pytest.raises(ResumeError, match="of a later release"):
        resumed(begun)


@pytest.mark.parametrize(
    "content", [b"[" * 100000 + b"]" * 100000, b"9" * 5000, b" " * (2 << 20), b""]
)
def test_what_is_no_journal_is_told(begun, content):
    begun.close()
    begun.journal.write_bytes(content)
    with pytest.raises(ResumeError, match=r"out\.progress.*--force begins anew"):
        resumed(begun)


def special(path, kind):
    """Puts something else in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)


@pytest.mark.parametrize("kind", ["fifo", "folder", "/dev/zero", "/dev/full"])
def test_special_files_are_neither_read_nor_written(begun, kind):
    begun.close()
    content = begun.journal.read_bytes()
    special(begun.journal, kind)
    with pytest.raises(ResumeError, match=r"out\.progress.* is no regular file"):
        resumed(begun)
    begun.journal.rmdir() if kind == "folder" else begun.journal.unlink()
    begun.journal.write_bytes(content)
    special(begun.partial, kind)
    for how in ({"force": True}, {"resume": True}):
        with pytest.raises(ResumeError, match=r"out\.partial is no regular file"):
            open_output(begun.path, lambda: {"model": "a"}, "stop", **how)


def test_a_link_in_the_place_of_the_partial_file_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("precious")
    for name in ("out.partial", "out.progress.new"):
        (tmp_path / name).symlink_to("precious")
    with pytest.raises(ResumeError, match="no regular file"):
        open_output(tmp_path / "out", dict, "stop", force=True)
    (tmp_path / "out.partial").unlink()
    output = open_output(tmp_path / "out", lambda: {"model": "a"}, "stop")
    assert output is not None
    output.append(b"x", lines=1)
    output.finish()
    output.close()
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "out").read_text() == "x"


def test_after_a_failed_write_the_journal_tells_what_is_there(begun, monkeypatch):
    real = os.write

    def full(handle, content):
        real(handle, content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            begun.append(b"vier\n", lines=4)
    begun.close()
    assert resumed(begun).lines == 3
