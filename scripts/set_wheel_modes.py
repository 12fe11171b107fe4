"""Gives the files in a wheel the modes that they have under the usual umask.

    python scripts/set_wheel_modes.py dist/keras_int8nmt-*.whl

A checkout has the modes of the umask that it was made under, and a wheel has those of its checkout:
nothing else in it differs from one machine to another (scripts/compare_wheels.py). Order, times and
contents stay.
"""

from __future__ import annotations

import copy
import os
import stat
import sys
import zipfile
from pathlib import Path


def usual_mode(mode: int) -> int:
    """Read by all, written by its owner; run by all what its owner may run, folders included."""
    return stat.S_IFMT(mode) | (0o755 if mode & stat.S_IXUSR else 0o644)


def set_modes(wheel: Path) -> None:
    """Writes the wheel anew, where it is."""
    draft = wheel.with_suffix(".draft")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            content = old.read(entry)
            entry = copy.copy(entry)
            low = entry.external_attr & 0xFFFF
            entry.external_attr = usual_mode(entry.external_attr >> 16) << 16 | low
            new.writestr(entry, content)
    os.replace(draft, wheel)


if __name__ == "__main__":
    set_modes(Path(sys.argv[1]))
