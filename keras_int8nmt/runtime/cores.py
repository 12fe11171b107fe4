"""How many threads can compute at once: the cores of this process, or less where it has a quota."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_ROOT = Path("/")
# Where Linux mostly shows its control groups, for where it does not tell.
_USUAL = (("cgroup2", "sys/fs/cgroup"), ("cgroup", "sys/fs/cgroup/cpu"))


class _Mount(NamedTuple):
    """A mounted hierarchy of control groups.

    Attributes:
        kind: "cgroup2", or "cgroup" of version 1.
        controllers: Of version 1: those of the hierarchy, such as "cpu".
        top: The group that is seen at the mount point.
        place: The mount point.
    """

    kind: str
    controllers: frozenset[str]
    top: PurePosixPath
    place: Path


def usable_cores(system: Path = _ROOT) -> int:
    """The cores that this process may run on, at most what the CPU quotas of its groups pay for.

    A control group has what all groups around it allow, so the smallest quota counts. A part of a
    core counts as one.

    Args:
        system: Where the file system of the machine is found.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    bounds = [cores or 1, *map(math.ceil, _quotas(system)), *_cpusets(system)]
    return max(1, min(bounds))


def _quotas(system: Path) -> Iterator[float]:
    """Cores' worth of time in each period, of every group around this process that bounds it."""
    for kind, folder in _groups(system, "cpu"):
        names = ("cpu.max",) if kind == "cgroup2" else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = " ".join(_read(folder / name) for name in names).split()
        try:
            quota, period = (float(word) for word in words)
        except ValueError:
            continue  # there is no such file, or it says "max"
        if quota > 0 and period > 0 and math.isfinite(quota / period):
            yield quota / period


def _cpusets(system: Path) -> Iterator[int]:
    """How many cores the groups around this process have, where one says."""
    for kind, folder in _groups(system, "cpuset"):
        name = "cpuset.cpus.effective" if kind == "cgroup2" else "cpuset.effective_cpus"
        count = _count(_read(folder / name))
        if count:
            yield count


def _count(ranges: str) -> int:
    """How many numbers a list such as "0-3,8" has; 0 for what is none."""
    text = ranges.strip()
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        return 0
    ends = [(part.split("-")[0], part.split("-")[-1]) for part in text.split(",")]
    return sum(max(0, int(last) - int(first) + 1) for first, last in ends)


def _groups(system: Path, controller: str) -> Iterator[tuple[str, Path]]:
    """The folders of the groups around this process, from the inside out, with the kind of each.

    A process may have two: a hybrid system has both versions, and one of them the controller.
    """
    mounts = list(_mounts(system))
    for path, controllers in _memberships(system):
        kind = "cgroup" if controllers else "cgroup2"
        for mount in mounts:
            if mount.kind != kind or (controllers and controller not in mount.controllers):
                continue
            if not controllers or controller in controllers:
                for folder in _upwards(mount, path):
                    yield kind, folder
    if not mounts:
        for kind, place in _USUAL:
            yield kind, system / place


def _upwards(mount: _Mount, path: PurePosixPath) -> Iterator[Path]:
    """The folder of a group as it is seen at a mount, and those around it up to the mount point."""
    if path.is_relative_to(mount.top):
        path = path.relative_to(mount.top)
    elif path.is_absolute():
        path = path.relative_to("/")
    # With ".." it is outside of what this process may see, as in a namespace of its own.
    inner = PurePosixPath(*(part for part in path.parts if part != ".."))
    for part in (inner, *inner.parents):
        yield mount.place / part


def _memberships(system: Path) -> Iterator[tuple[PurePosixPath, frozenset[str]]]:
    """The groups of this process, each with its controllers; none of version 2."""
    for line in _read(system / "proc/self/cgroup").splitlines():
        _, found, rest = line.partition(":")
        controllers, also, path = rest.partition(":")
        if found and also:
            names = frozenset(name for name in controllers.split(",") if name)
            yield PurePosixPath(path), names


def _mounts(system: Path) -> Iterator[_Mount]:
    # 30 23 0:26 /top /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
    for line in _read(system / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        top, place = (_unescaped(field) for field in fields[3:5])
        options = frozenset(kind[-1].split(","))
        yield _Mount(kind[0], options, PurePosixPath(top), system / place.lstrip("/"))


def _unescaped(text: str) -> str:
    """A path of mountinfo, where spaces and the like are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
