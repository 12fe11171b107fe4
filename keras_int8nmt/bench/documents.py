"""Where a run's figures and pages go: JSON of any length apart from the pages that people read."""

from __future__ import annotations

import json
import os
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
    """Writes the figures, making `folder`; returns the sentence with which pages name the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = figures_path(folder, name)
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    link = os.path.relpath(path.resolve(), folder.resolve())
    return f"Every figure of the run: [{path.name}]({link}).\n"


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
