"""Holds a wheel that is to be published to what it promises besides what auditwheel looks at.

    python scripts/check_wheel.py dist/keras_int8nmt-*.whl

Its libraries are stripped, name no function of a newer glibc and none without a version, and there
is one OpenMP at most; the licences of all that it brings are inside.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NATIVE = "keras_int8nmt/_native/"
OURS = {"libkeras_int8nmt.so", "libkeras_int8nmt_core.so"}
GLIBC = (2, 28)
# What another library of the process gives: TensorFlow's C API, and our core.
FROM_OTHERS = re.compile(r"TF_|TFE_|keras_int8nmt_")
LICENCES = ["LICENSE", "keras_int8nmt/default_model/NOTICE"]
BROUGHT = {
    "libdnnl": ["licenses/oneDNN-LICENSE.txt", "licenses/oneDNN-THIRD-PARTY-PROGRAMS.txt"],
    "libgomp": ["licenses/GPL-3.0.txt", "licenses/GCC-exception-3.1.txt"],
}


def listing(library: Path, *options: str) -> str:
    return subprocess.run(
        ["readelf", "--wide", *options, str(library)], check=True, capture_output=True, text=True
    ).stdout


def complaints_of_a_library(library: Path) -> list[str]:
    found = []
    if ".symtab" in listing(library, "--sections"):
        found.append(f"{library.name} is not stripped")
    for row in listing(library, "--dyn-syms").splitlines():
        fields = row.split()
        if "UND" not in fields or len(fields) < 8:
            continue
        name, _, version = fields[7].partition("@")
        later = re.fullmatch(r"GLIBC_([\d.]+)", version.lstrip("@"))
        if later and tuple(map(int, later[1].split("."))) > GLIBC:
            found.append(f"{library.name} needs {name} of {version}")
        # A name without a version is one that the linker has not found.
        if not version and fields[4] != "WEAK" and not FROM_OTHERS.match(name):
            found.append(f"{library.name} needs {name}, of nobody knows which library")
    return found


def complaints(wheel: Path) -> list[str]:
    found = []
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        libraries = [name for name in names if re.search(r"\.so(\.|$)", name)]
        for name in libraries:
            found += complaints_of_a_library(Path(archive.extract(name, folder)))
    inside = {name.removeprefix(NATIVE) for name in libraries}
    if elsewhere := [name for name in libraries if not name.startswith(NATIVE)]:
        found.append(f"libraries outside {NATIVE}: {', '.join(elsewhere)}")
    if missing := OURS - inside:
        found.append(f"there is no {', '.join(sorted(missing))}")
    licences = list(LICENCES)
    for beginning, texts in BROUGHT.items():
        count = sum(name.startswith(beginning) for name in inside)
        if count > 1:
            found.append(f"there are {count} of {beginning}")
        licences += texts if count else []
    found += [
        f"there is no licence {licence}"
        for licence in licences
        if not any(name.endswith(f".dist-info/licenses/{licence}") for name in names)
    ]
    return found


def main() -> None:
    wheel = Path(sys.argv[1])
    if found := complaints(wheel):
        raise SystemExit("\n".join([f"{wheel.name}:", *found]))
    print(f"{wheel.name}: stripped, glibc {'.'.join(map(str, GLIBC))}, licences inside")


if __name__ == "__main__":
    main()
