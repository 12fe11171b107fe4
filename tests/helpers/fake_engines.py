"""Engines that workers load in the tests; no library behind them."""

from __future__ import annotations

import os
import time

from keras_int8nmt.bench.translation.engines import UnavailableError


class Echo:
    """Answers each sentence with itself."""

    def __init__(self, folder, cores, *, note=""):
        self.settings = f"{folder.name}, {cores} cores{note}"

    def prepare(self, job):
        return job

    def run(self, prepared):
        print("a library talks on stdout")
        return prepared.sentences


class Slow(Echo):
    """The same, with a pause."""

    def run(self, prepared):
        time.sleep(0.05)
        return super().run(prepared)


class Failing(Echo):
    """Loads, and then can't run."""

    def run(self, prepared):
        raise ValueError("no such luck")


class Dying(Echo):
    """Takes its process along."""

    def run(self, prepared):
        os.write(2, b"Illegal instruction, or so\n")
        os._exit(3)


class Hanging(Echo):
    """Never answers."""

    def run(self, prepared):
        time.sleep(600)


class Unavailable(Echo):
    """Is installed and can't be used."""

    def __init__(self, folder, cores):
        raise UnavailableError("this CPU is too old")


class Cores(Echo):
    """Says where it runs."""

    def run(self, prepared):
        return [sorted(os.sched_getaffinity(0))]


class EchoPeer(Echo):
    """An engine of `bench peers`."""

    def __init__(self, folder, cores, *, peer):
        super().__init__(folder, cores)


class ShortPeer(EchoPeer):
    """Forgets the second half."""

    def run(self, prepared):
        return [ids[: len(ids) // 2] for ids in prepared.sentences]


class FailingPeer(EchoPeer, Failing):
    """Can't run."""


class FilePeer(EchoPeer):
    """Makes a file."""

    def __init__(self, folder, cores, *, peer, size):
        super().__init__(folder, cores, peer=peer)
        (folder / peer).mkdir()
        (folder / peer / "model").write_bytes(bytes(size))


class DyingPeer(EchoPeer):
    """Takes its process along as it is made."""

    def __init__(self, folder, cores, *, peer):
        self.run = Dying.run(self, None)
