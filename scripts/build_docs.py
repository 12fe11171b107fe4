"""Builds the site of the documents into build/site, strictly: a warning ends it.

    python scripts/build_docs.py [--no-tutorials] [--not-run NAME]...

Made here, into docs/generated: the reference of the public names from their docstrings, that of
the command line from its parser, and the tutorials, scripts of examples/ in cells, with what they
print.
The rest of the site is the pages of docs/ as they are (docs/conf.py). Then every link inside the
site is followed, and nothing may be asked of another host.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
GENERATED, SITE = DOCS / "generated", ROOT / "build" / "site"
# The faces whose names are public, after those of the package itself.
ROOMS = [
    "layers", "callbacks", "calibration", "conversion", "training", "importers", "tokenizers",
    "translation", "clusters", "evaluation", "serving", "models", "storage", "autotuning", "report",
    "ops",
]  # fmt: skip
CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


# ---- the reference, from what the package says of itself


def directive(module: str, name: str) -> str:
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        options = ":members:\n" if not issubclass(value, Exception) else ""
        return f".. autoclass:: {module}.{name}\n" + (f"   {options}" if options else "")
    kind = "autofunction" if callable(value) else "autodata"
    return f".. {kind}:: {module}.{name}\n"


def write_reference() -> None:
    """A page for the package and one for each room, of names that no page before it has."""
    known: set[str] = {"__version__"}
    for room in ["", *ROOMS]:
        module = "keras_int8nmt" + (f".{room}" if room else "")
        names = [n for n in importlib.import_module(module).__all__ if n not in known]
        known.update(names)
        if names:
            body = "\n".join(directive(module, name) for name in sorted(names, key=str.lower))
            page = GENERATED / ("api" + (f"-{room}" if room else "") + ".md")
            page.write_text(f"# `{module}`\n\n```{{eval-rst}}\n{body}```\n", encoding="utf-8")


def write_command_line() -> None:
    from keras_int8nmt.cli.command_line import make_parser
    from keras_int8nmt.cli.commands import COMMANDS

    os.environ["COLUMNS"] = "92"
    text = "# Command line\n"
    for command in ["", *COMMANDS]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            make_parser().parse_args([*([command] if command else []), "--help"])
        text += f"\n## `keras-int8nmt {command}`\n".replace(" `\n", "`\n")
        text += f"\n```text\n{out.getvalue().strip()}\n```\n"
    (GENERATED / "command-line.md").write_text(text, encoding="utf-8")


def write_root_page(name: str) -> None:
    """A page that lies in the root for those who look there."""
    text = (ROOT / f"{name.upper()}.md").read_text(encoding="utf-8")
    text = text.replace("](docs/", "](../")
    (GENERATED / f"{name}.md").write_text(text, encoding="utf-8")


# ---- tutorials


def cells(script: str) -> Iterator[tuple[bool, str]]:
    """Whether a cell is text, and what is in it."""
    pieces = CELL.split(script)[1:]
    for mark, text in zip(pieces[::2], pieces[1::2], strict=True):
        yield mark is not None, text.strip()


def write_tutorial(name: str, run: bool = True) -> None:
    """Runs the cells of a script in turn, in an empty folder, and writes what they print.

    Without `run` the page has the cells alone.

    A link in the text to a file that the cells before it made, such as a picture, takes the file to
    the page; other links are those of docs/.

    Raises:
        Exception: whatever a cell raises.
    """
    script = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    page, names, stem = "", {"__name__": "__main__"}, name.replace("_", "-")

    def target(link: re.Match[str]) -> str:
        if "://" in link[1]:
            return link[0]
        if not Path(link[1]).is_file():
            return f"](../{link[1]})"
        shutil.copy(link[1], GENERATED / f"{stem}-{link[1]}")
        return f"]({stem}-{link[1]})"

    sys.path.insert(0, str(EXAMPLES))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, (is_text, cell) in enumerate(cells(script)):
            if is_text:
                text = re.sub(r"^# ?", "", cell, flags=re.MULTILINE)
                page += re.sub(r"\]\(([^)]+)\)", target, text) + "\n\n"
                continue
            page += f"```python\n{cell}\n```\n\n"
            if not run:
                continue
            out = io.StringIO()
            try:
                with contextlib.redirect_stdout(out):
                    exec(compile(cell, f"{name}.py, cell {number}", "exec"), names)
            except Exception:
                # What the cells printed may say why.
                sys.stderr.write(page + out.getvalue())
                raise
            if out.getvalue().strip():
                page += f"```text\n{out.getvalue().rstrip()}\n```\n\n"
    page += f"The script is `examples/{name}.py`, in cells that open as a notebook.\n"
    (GENERATED / f"{stem}.md").write_text(page, encoding="utf-8")


def run_tutorials(left_out: list[str]) -> None:
    """Each in a process of its own, as many side by side as there are cores."""
    names = sorted(path.stem for path in EXAMPLES.glob("tutorial_*.py"))
    for name in left_out:
        write_tutorial(name, run=False)
        names.remove(name)
    # The commands of this Python's environment, whether or not it is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(name: str) -> int:
        command = [sys.executable, __file__, "--tutorial", name]
        return subprocess.run(command, env=environment, check=False).returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = list(pool.map(run, names))
    failed = [name for name, code in zip(names, codes, strict=True) if code != 0]
    if failed:
        raise SystemExit(f"tutorials that failed: {', '.join(failed)}")


# ---- the site, looked at


class Page(HTMLParser):
    """Ids, links, and what the page loads by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in {"stylesheet", "preload", "icon"}:
            self.loads.append(values["href"])
        elif "src" in values:
            self.loads.append(values["src"])


def complaints_of_site() -> list[str]:
    pages = {path: Page(path) for path in SITE.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{path.relative_to(SITE)} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                found.append(f"{path.relative_to(SITE)} links to {link}, which is not there")
            elif (
                target in pages
                and parts.fragment
                and unquote(parts.fragment) not in pages[target].ids
            ):
                found.append(f"{path.relative_to(SITE)} links to {link}, which has no such part")
    return sorted(set(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-tutorials", action="store_true", help="leave those of before")
    parser.add_argument("--tutorial", metavar="NAME", help="make that page alone")
    parser.add_argument(
        "--not-run",
        action="append",
        default=[],
        metavar="NAME",
        help="a tutorial whose page shall have no output, such as tutorial_from_text",
    )
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    GENERATED.mkdir(exist_ok=True)
    if arguments.tutorial:
        write_tutorial(arguments.tutorial)
        return
    if not arguments.no_tutorials:
        run_tutorials(arguments.not_run)
    write_reference()
    write_command_line()
    for name in ("contributing", "changelog"):
        write_root_page(name)
    shutil.rmtree(SITE, ignore_errors=True)
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q"]
    subprocess.run(
        [*sphinx, "-d", str(ROOT / "build" / "doctrees"), str(DOCS), str(SITE)], check=True
    )
    if found := complaints_of_site():
        raise SystemExit("\n".join(found))
    print(f"{SITE}: {len(list(SITE.rglob('*.html')))} pages")


if __name__ == "__main__":
    main()
