"""Holds a wheel to one that is built again from the same commit, elsewhere and later.

    python scripts/compare_wheels.py dist/keras_int8nmt-*.whl [ANOTHER.whl]

Without another wheel one is built, by `scripts/build_wheel.sh` in a clone in a folder of another
length, under another umask, in another time zone and in another language. Equal means equal bytes;
where they are not, each file of the wheels that differs is named, with the first place.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What an archive says of a file besides what is in it.
ATTRIBUTES = ("date_time", "external_attr", "compress_type", "create_system", "extra")


def differences(one: Path, other: Path) -> list[str]:
    """What two wheels do not have alike; nothing where they are equal byte for byte."""
    if one.read_bytes() == other.read_bytes():
        return []
    found = []
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        names, others = first.namelist(), second.namelist()
        found += [f"{name} is in {one.name} alone" for name in names if name not in others]
        found += [f"{name} is in {other.name} alone" for name in others if name not in names]
        both = [name for name in names if name in others]
        if both != [name for name in others if name in names]:
            found.append("the files have another order")
        for name in both:
            found += differences_of_a_file(name, first, second)
    return found or ["the archives differ, and no file in them"]


def differences_of_a_file(name: str, one: zipfile.ZipFile, other: zipfile.ZipFile) -> list[str]:
    found = []
    a, b = one.read(name), other.read(name)
    if a != b:
        place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        place = min(len(a), len(b)) if place is None else place
        near = slice(max(0, place - 24), place + 24)
        found.append(
            f"{name}: {len(a)} and {len(b)} bytes, other from byte {place} on:\n"
            f"    {a[near]!r}\n    {b[near]!r}"
        )
    for attribute in ATTRIBUTES:
        x, y = (getattr(archive.getinfo(name), attribute) for archive in (one, other))
        if x != y:
            found.append(f"{name}: {attribute} is {x!r} and {y!r}")
    return found


def build_elsewhere(folder: Path, machine: str) -> Path:
    """The wheel of this checkout's commit, built as differently as one can."""
    clone = folder / "a folder with a longer name" / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, umask=0o077)
    # The very commit, whatever the branch that a clone takes.
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    checkout = ["git", "-C", str(clone), "checkout", "--quiet", head]
    subprocess.run(checkout, check=True, umask=0o077)
    subprocess.run(
        ["scripts/build_wheel.sh", machine, str(folder / "out")],
        cwd=clone,
        check=True,
        umask=0o077,
        env={**os.environ, "TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    )
    (wheel,) = (folder / "out").glob("*.whl")
    return wheel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("another", type=Path, nargs="?", help="default: one that is built now")
    arguments = parser.parse_args()
    machine = arguments.wheel.stem.rpartition("manylinux_2_28_")[2]
    with tempfile.TemporaryDirectory(prefix="keras-int8nmt-") as folder:
        another = arguments.another or build_elsewhere(Path(folder), machine)
        if found := differences(arguments.wheel, another):
            raise SystemExit("\n".join([f"{arguments.wheel.name} was built otherwise:", *found]))
    print(f"{arguments.wheel.name}: built twice, {arguments.wheel.stat().st_size} equal bytes")


if __name__ == "__main__":
    main()
