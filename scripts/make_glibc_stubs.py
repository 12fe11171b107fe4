"""Makes libraries to link against that have what an older glibc had, from those of this machine.

A library names for each function of the C library the version that it was linked against, and does
not load where there is none. The C library keeps the older versions for those who name them; so
each stub below has a symbol's newest version of no later than the glibc asked for, and neither code
nor data. What came later is missing, so to use it is an error of the linker.

    python scripts/make_glibc_stubs.py 2.28 FOLDER COMPILER READELF
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
# Since 2.34 all of these is in libc.so.6, under versions of that release and the former ones. Where
# it was before is where a program for an older glibc must look.
MERGED = (2, 34)
MOVED = {"libpthread.so.0": ("pthread_", "__pthread_", "sem_"), "libdl.so.2": ("dl",)}
_ROW = re.compile(
    r"^\s*\d+: [0-9a-f]+\s+(?P<size>\d+|0x[0-9a-f]+) (?P<kind>\S+)\s+(?:GLOBAL|WEAK)\s+DEFAULT\s+"
    r"\d+ (?P<name>[\w.]+)@@?GLIBC_(?P<version>[\d.]+)",
    re.MULTILINE,
)


class Symbol(NamedTuple):
    name: str
    version: tuple[int, ...]
    is_data: bool
    size: int


def parse(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def read(readelf: str, library: Path) -> dict[str, list[Symbol]]:
    """The versions of each symbol that a library defines."""
    listing = subprocess.run(
        [readelf, "--wide", "--dyn-syms", str(library)], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, list[Symbol]] = {}
    for row in _ROW.finditer(listing):
        if row["kind"] in {"FUNC", "IFUNC", "OBJECT"}:
            symbol = Symbol(
                row["name"], parse(row["version"]), row["kind"] == "OBJECT", int(row["size"], 0)
            )
            found.setdefault(symbol.name, []).append(symbol)
    return found


def choose(found: dict[str, list[Symbol]], limit: tuple[int, ...]) -> list[tuple[Symbol, bool]]:
    """Of each symbol the newest version within the limit, and whether it moved afterwards."""
    chosen = []
    for symbols in found.values():
        within = [symbol for symbol in symbols if symbol.version <= limit]
        if within:
            moved = limit < MERGED <= max(symbol.version for symbol in symbols)
            chosen.append((max(within, key=lambda symbol: symbol.version), moved))
    return chosen


def home(symbol: Symbol, library: str, moved: bool) -> str:
    if library == "libc.so.6" and moved:
        for former, beginnings in MOVED.items():
            if symbol.name.startswith(beginnings):
                return former
    return library


def assembly(symbols: list[Symbol]) -> str:
    lines = []
    for i, symbol in enumerate(symbols):
        version = ".".join(map(str, symbol.version))
        lines += [
            ".data" if symbol.is_data else ".text",
            f".globl stub_{i}",
            f".type stub_{i}, %{'object' if symbol.is_data else 'function'}",
            f".symver stub_{i}, {symbol.name}@@@GLIBC_{version}",
            f"stub_{i}: .zero {max(1, symbol.size) if symbol.is_data else 1}",
            f".size stub_{i}, . - stub_{i}",
        ]
    return "\n".join([*lines, '.section .note.GNU-stack,"",%progbits', ""])


def make(compiler: list[str], folder: Path, soname: str, symbols: list[Symbol]) -> None:
    source, versions = folder / f"{soname}.s", folder / f"{soname}.map"
    source.write_text(assembly(sorted(symbols)), encoding="utf-8")
    names = sorted({symbol.version for symbol in symbols})
    versions.write_text(
        "".join(f"GLIBC_{'.'.join(map(str, name))} {{ }};\n" for name in names), encoding="utf-8"
    )
    link = ["-shared", "-nostdlib", f"-Wl,-soname,{soname}", f"-Wl,--version-script={versions}"]
    subprocess.run(
        [*compiler, *link, "-x", "assembler", str(source), "-o", str(folder / soname)], check=True
    )


def main() -> None:
    version, target, compiler_path, readelf = sys.argv[1:]
    limit, folder, compiler = parse(version), Path(target), [compiler_path]
    folder.mkdir(parents=True, exist_ok=True)

    def ask(*words: str) -> str:
        return subprocess.run(
            [*compiler, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    loader = LOADERS[ask("-dumpmachine").partition("-")[0]]
    libraries: dict[str, list[Symbol]] = {}
    for library in ("libc.so.6", "libm.so.6", loader, *MOVED):
        path = Path(ask(f"-print-file-name={library}"))
        if path.is_absolute():
            for symbol, moved in choose(read(readelf, path), limit):
                libraries.setdefault(home(symbol, library, moved), []).append(symbol)
    for soname, symbols in libraries.items():
        make(compiler, folder, soname, symbols)

    # What -lc, -lm and so on find here before they look where the compiler's glibc lies.
    static = ask("-print-file-name=libc_nonshared.a")
    others = " ".join(str(folder / name) for name in (*MOVED, loader) if name in libraries)
    for name in libraries:
        group = str(folder / name)
        if name == "libc.so.6":
            group += f" {static} AS_NEEDED ( {others} )"
        script = folder / f"{name.partition('.so')[0]}.so"
        script.write_text(f"GROUP ( {group} )\n", encoding="utf-8")


if __name__ == "__main__":
    main()
