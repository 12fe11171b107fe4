"""A folder takes another one's place as a whole, wherever the process ends."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from keras_int8nmt.storage import folders
from keras_int8nmt.storage.card import fingerprint
from keras_int8nmt.storage.folders import check_writable, new_folder, put_back


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mark").write_text("old")
    return tmp_path / "model"


def replace(place, content="new"):
    with new_folder(place) as draft:
        (draft / "mark").write_text(content)


def content(place):
    return (place / "mark").read_text()


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_replaced_and_nothing_is_left(place, monkeypatch, exchanges):
    if not exchanges:
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    replace(place)
    assert content(place) == "new"
    assert os.listdir(place.parent) == ["model"]
    assert (place.stat().st_mode & 0o777) == 0o777 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="not Linux")
def test_here_it_takes_one_step(place, monkeypatch):
    def no_rename(*_):
        raise AssertionError("two steps")

    monkeypatch.setattr(os, "rename", no_rename)
    replace(place)
    assert content(place) == "new"


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_process_that_ends_at_any_step_leaves_the_old_or_the_new(place, monkeypatch, exchanges):
    """Each step of the system in turn is the last one that is done."""
    n, ended = 0, False
    while not ended:
        for left in place.parent.glob(".model*"):
            shutil.rmtree(left)
        (place / "mark").write_text("old")
        with monkeypatch.context() as patch:
            if not exchanges:
                patch.setattr(folders, "_exchange", lambda *_: False)
            ended = not killed_at(patch, n, place)
        check_writable(place, True, "mark")
        assert content(place) in ("old", "new"), n
        replace(place, "newer")
        assert content(place) == "newer"
        n += 1
    assert n > 3


def killed_at(patch, n, place):
    steps = iter(range(1000))

    def counted(call):
        def counted(*arguments, **options):
            if next(steps) >= n:
                raise Killed
            return call(*arguments, **options)

        return counted

    for owner, name in (
        (os, "rename"),
        (os, "mkdir"),
        (Path, "rmdir"),
        (shutil, "rmtree"),
    ):
        patch.setattr(owner, name, counted(getattr(owner, name)))
    if folders._exchange.__name__ == "_exchange":
        patch.setattr(folders, "_exchange", counted(folders._exchange))
    try:
        replace(place)
    except Killed:
        return True
    return False


def between_two_steps(place):
    old = place.parent / f".{place.name}.old.x1"
    old.mkdir()
    os.rename(place, old / "replaced")


def test_what_was_being_replaced_is_found_when_it_is_next_asked_for(place):
    before = fingerprint(place)
    between_two_steps(place)
    assert fingerprint(place) == before
    assert os.listdir(place.parent) == ["model"]


def test_nothing_is_put_back_where_something_is_or_for_another_name(place):
    between_two_steps(place)
    (place.parent / "mod").mkdir()
    for name in ("mod", "other", "model2"):
        put_back(place.parent / name)
    assert sorted(os.listdir(place.parent)) == [".model.old.x1", "mod"]
    place.mkdir()
    put_back(place)
    assert not os.listdir(place)
