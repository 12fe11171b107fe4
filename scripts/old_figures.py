"""Lists figures in README and docs that are older than the last change of what they measure.

    python scripts/old_figures.py

benchmarks/figures.toml says which figures stand where, which command makes them and what they are
figures of. A result in benchmarks/results tells the commit that it was measured at; where it does
not, that file tells, or else the commit that brought the result. C++ that has changed since does
not count where the result names the native library that is in this checkout, by its checksum.

An older figure need not be a wrong one: who changed something knows, or measures again.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path("benchmarks", "figures.toml")
RESULTS = Path("benchmarks", "results")
CPP = "keras_int8nmt/cc"
CORE = Path("keras_int8nmt", "_native", "libkeras_int8nmt_core.so")


@dataclass(frozen=True)
class Figures:
    """A row of the table.

    Attributes:
        pages: Where they stand: a file, and a heading's anchor.
        command: What makes them.
        measures: Paths that they are figures of.
        result: Their file in benchmarks/results, or empty.
        commit: That they were measured at, where the result does not say so; or empty.
    """

    pages: tuple[str, ...]
    command: str
    measures: tuple[str, ...]
    result: str = ""
    commit: str = ""


@dataclass(frozen=True)
class Old:
    """Figures that are older than what they measure.

    Attributes:
        figures: Which.
        measured: The commit and its day.
        changes: Commits since, the newest first: hash, day and message.
        draft: Paths with changes that are not committed.
    """

    figures: Figures
    measured: str
    changes: list[str] = field(default_factory=list)
    draft: list[str] = field(default_factory=list)


def read_table(path: Path) -> list[Figures]:
    """The rows of the table, with the paths that names of sources stand for.

    Raises:
        ValueError: naming a row without pages, command, what it measures, or when.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    sources, found = table["sources"], []
    for row in table["figures"]:
        if not row.get("command") or not row.get("pages") or not row.get("measures"):
            raise ValueError(f"A row of {path} needs pages, a command and what it measures: {row}.")
        if not row.get("result") and not row.get("commit"):
            raise ValueError(f"Figures of {row['command']!r} need a result or a commit in {path}.")
        measures = [each for name in row["measures"] for each in sources.get(name, [name])]
        rest = {name: row.get(name, "") for name in ("result", "commit")}
        found.append(Figures(tuple(row["pages"]), row["command"], tuple(measures), **rest))
    return found


def git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def result_of(root: Path, figures: Figures) -> dict[str, Any]:
    if not figures.result:
        return {}
    found: dict[str, Any] = json.loads((root / RESULTS / figures.result).read_text("utf-8"))
    return found


def measured_at(root: Path, figures: Figures, result: dict[str, Any]) -> str:
    """The commit of the result, of the table, or that which brought the result."""
    if commit := result.get("commit") or figures.commit:
        # What was measured with changes that were not committed has a "+" behind its commit.
        return str(commit).partition("+")[0]
    return git(root, "log", "-1", "--format=%h", "--", str(RESULTS / figures.result)).strip()


def paths_that_count(root: Path, figures: Figures, result: dict[str, Any]) -> list[str]:
    known = result.get("machine", {}).get("native library")
    core = root / CORE
    if known and core.is_file():
        here = hashlib.sha256(core.read_bytes()).hexdigest()
        if here.startswith(known):
            return [path for path in figures.measures if not path.startswith(CPP)]
    return list(figures.measures)


def old_figures(root: Path) -> list[Old]:
    """Those of the table that are older than a change of what they measure."""
    found = []
    for figures in read_table(root / TABLE):
        if figures.result and not (root / RESULTS / figures.result).is_file():
            continue
        result = result_of(root, figures)
        commit, paths = measured_at(root, figures, result), paths_that_count(root, figures, result)
        log = git(root, "log", "--format=%h %cs %s", f"{commit}..HEAD", "--", *paths)
        draft = [line[3:] for line in git(root, "status", "--short", "--", *paths).splitlines()]
        if log or draft:
            day = git(root, "log", "-1", "--format=%h of %cs", commit).strip()
            found.append(Old(figures, day, log.splitlines(), draft))
    return found


def main() -> None:
    found = old_figures(ROOT)
    for old in found:
        print(*old.figures.pages, sep=", ")
        print(f"    {old.figures.command}: measured at {old.measured}")
        if old.changes:
            print(f"    changes since: {len(old.changes)}, the last {old.changes[0]}")
        if old.draft:
            print(f"    not committed: {', '.join(old.draft)}")
    print(f"{len(found)} of {len(read_table(ROOT / TABLE))} are older than what they measure")


if __name__ == "__main__":
    main()
