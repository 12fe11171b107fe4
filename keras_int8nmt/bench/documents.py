"""Where a run's figures and pages go: JSON of any length apart from the pages that people read."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.errors import BenchError

RESULTS = Path("benchmarks", "results")


def figures_path(folder: Path, name: str) -> Path:
    """The file of a run's figures: in a checkout's `benchmarks/results`, else beside the pages.

    Args:
        folder: Of the pages, such as a checkout's `docs`.
        name: Of the benchmark's documents, without a suffix.
    """
    results = folder.resolve().parent / RESULTS
    return (results if results.is_dir() else folder) / f"{name}.json"


def write_figures(folder: Path, name: str, figures: dict[str, Any]) -> str:
    """Writes the figures, making `folder`; returns the sentence with which pages name the file.

    In a checkout they tell its commit (`commit`), unless they do already; `scripts/old_figures.py`
    compares it with what has changed since.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = figures_path(folder, name)
    if "commit" not in figures and (commit := commit_of(folder)):
        figures = {"commit": commit, **figures}
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    link = os.path.relpath(path.resolve(), folder.resolve())
    return f"Every figure of the run: [{path.name}]({link}).\n"


def commit_of(folder: Path) -> str:
    """The commit of the checkout that has `folder`, or empty.

    A "+" behind it says that files which git knows differ from it.
    """
    commit = _git(folder, "rev-parse", "--short", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ":/keras_int8nmt")
    return commit + "+" if commit and changed else commit


def commit_of_figures(folder: Path, name: str) -> str:
    """The commit of what `write_figures` wrote, or empty.

    Figures that do not tell have that of the last change of their file.
    """
    known = (read_figures(folder, name) or {}).get("commit")
    path = figures_path(folder, name).resolve()
    return known or _git(folder, "log", "-1", "--format=%h", "--", str(path))


def _git(folder: Path, *words: str) -> str:
    """What git says of a checkout; empty where it is none, and where there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def read_figures(folder: Path, name: str) -> dict[str, Any] | None:
    """What `write_figures` wrote; None if it did not."""
    try:
        return json.loads(figures_path(folder, name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write_section(path: Path, title: str, name: str, content: str) -> None:
    """Puts `content` between the marks of `name` in the page `path`, and leaves the rest alone.

    A page without the marks gets them at its end; one that is not there is made, with `title`.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    section = f"{begin}\n{content.strip()}\n\n{end}"
    page = path.read_text(encoding="utf-8") if path.is_file() else f"# {title}\n"
    before, found, rest = page.partition(begin)
    if found:
        _, ended, after = rest.partition(end)
        if not ended:
            raise BenchError(f"{path} has the mark {begin.strip()!r} and not {end.strip()!r}")
        page = before + section + after
    else:
        page = f"{page.rstrip()}\n\n{section}"
    path.write_text(page, encoding="utf-8")
