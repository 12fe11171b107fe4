"""How many threads can compute at once: the cores of this process, or less where it has a quota."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """The cores that this process may run on, at most what a container's CPU quota pays for.

    Args:
        cgroups: Where Linux shows its control groups.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroups)
    return max(1, min(cores or 1, math.ceil(quota))) if quota else max(1, cores or 1)


def _quota(cgroups: Path) -> float | None:
    """Cores' worth of time in each period; None where nothing bounds it."""
    # Inside a container its own group is the root of what is to be seen. Version 2, then 1.
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join((cgroups / n).read_text(encoding="ascii") for n in names).split()
            quota, period = (float(word) for word in words)
        except (OSError, ValueError):
            continue  # no such file, or "max"
        if quota > 0 and period > 0:
            return quota / period
    return None
