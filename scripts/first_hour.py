"""The first hour of somebody new: a wheel into an empty environment, then two tutorials.

    python scripts/first_hour.py WHEEL [--docs docs]

Makes a virtual environment of this Python, with nothing else on the PATH, so no compiler either,
and no cache of packages. The wheel is installed as the tutorials say ("pip install ..."), then each
runs to its end, as a script in a folder of its own, beside the modules of examples/ that it
imports. What they promise is held to what they left: the model that was trained translates on the
command line, and a corpus has a translation for each line. Prints how long each step took and what
it needed; `--docs` writes that into start.md of that folder, too.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import re
import shlex
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PACKAGE = "keras-int8nmt"
BEGIN, END = "<!-- first hour: begin -->\n", "<!-- first hour: end -->\n"
# Of a step that failed, its last words.
LAST_LINES = 40


@dataclass(frozen=True)
class Step:
    """What a command printed, and what it needed.

    Attributes:
        output: Both of its streams.
        seconds: By the clock.
        peak: Bytes of memory that the largest of its processes had at once.
    """

    output: str
    seconds: float
    peak: int


def run(name: str, command: list[str], folder: Path, environment: dict[str, str]) -> Step:
    """Runs a command in a folder, with these variables of the environment alone.

    Raises:
        SystemExit: It failed; its last lines are in the message.
    """
    with tempfile.TemporaryFile() as stream:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip
        # Of the process and of all that it waited for.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        stream.seek(0)
        output = stream.read().decode("utf-8", errors="replace")
    if process.returncode != 0:
        last = "\n".join(output.splitlines()[-LAST_LINES:])
        raise SystemExit(f"{last}\n{name} failed with exit code {process.returncode}")
    return Step(output, seconds, usage.ru_maxrss * 1024)


# ---- what the tutorials say


def installs(script: str, wheel: Path) -> Iterator[list[str]]:
    """What to install, as the script's text says it, with the wheel for the package's name."""
    for line in re.findall(r"^# {5}pip install (.*)$", script, re.MULTILINE):
        yield [re.sub(rf"^{PACKAGE}(?=\[|$)", str(wheel), word) for word in shlex.split(line)]


def modules(script: str) -> set[str]:
    """The modules of examples/ that the script imports."""
    found = set()
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return {name for name in found if (EXAMPLES / f"{name}.py").is_file()}


# ---- what the tutorials leave


def lines_of(path: Path) -> list[str]:
    if not path.is_file():
        raise SystemExit(f"the tutorial left no {path.name}")
    return path.read_text("utf-8").splitlines()


def expect(fact: bool, wrong: str) -> None:
    if not fact:
        raise SystemExit(wrong)


def check_from_text(folder: Path, output: str, command: Callable[[list[str]], str]) -> None:
    """The model in INT8 translates on the command line as it did in the tutorial, and well.

    Raises:
        SystemExit: It doesn't; the message says what is wrong.
    """
    words = ["translate", "numbers-int8", "valid.en", "-o", "served.de", "--beam-size", "4"]
    command([PACKAGE, *words])
    sources, references, served = (
        lines_of(folder / name) for name in ("valid.en", "valid.de", "served.de")
    )
    expect(len(served) == len(sources), f"{len(served)} translations of {len(sources)} sentences")
    right = sum(map(str.__eq__, served, references))
    expect(right > 0.8 * len(served), f"{right} of {len(served)} translations are right")
    for source, line in zip(sources[:3], served, strict=False):
        expect(f"{source} -> {line}" in output.splitlines(), f"not as the tutorial has it: {line}")
    figures = re.search(r"BLEU: float ([\d.]+), INT8 ([\d.]+)\ndifference, 95 %: ", output)
    if figures is None:
        raise SystemExit("the tutorial printed no BLEU with an interval")
    float_bleu, int8_bleu = map(float, figures.groups())
    expect(int8_bleu > float_bleu - 2, f"BLEU in INT8 {int8_bleu}, in float {float_bleu}")


def check_opus_mt(folder: Path, output: str, command: Callable[[list[str]], str]) -> None:
    """There is a translation for each line, and the tutorial says what INT8 costs.

    Raises:
        SystemExit: There isn't; the message says what is wrong.
    """
    sources, translated = (lines_of(folder / name) for name in ("test.en", "translated.de"))
    expect(len(translated) == len(sources), f"{len(translated)} lines of {len(sources)}")
    empty = sum(not line.strip() for line in translated)
    expect(empty == 0, f"{empty} translations are empty")
    expect((folder / "en-de-int8" / "spec.json").is_file(), "en-de-int8 has no spec.json")
    expect("BLEU" in output, "the tutorial printed no BLEU")


TUTORIALS = {"tutorial_from_text": check_from_text, "tutorial_opus_mt": check_opus_mt}

# ---- all of it


def first_hour(wheel: Path, work: Path) -> str:
    """Goes through the first hour in an empty folder, and tells of it in a table of Markdown.

    Raises:
        SystemExit: A step failed, or did not leave what it promises.
    """
    scripts = {name: (EXAMPLES / f"{name}.py").read_text("utf-8") for name in TUTORIALS}
    home, venv = work / "home", work / "venv"
    home.mkdir()
    # pip is told by variables where packages are, and by which road.
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    path = {"HOME": str(home), "PATH": str(venv / "bin")}
    steps: dict[str, Step] = {}
    for name, script in scripts.items():
        commands = list(installs(script, wheel))
        expect(bool(commands), f"{name} does not say what to install")
        for words in commands:
            line = shlex.join(["pip", "install", *words]).replace(str(wheel), PACKAGE)
            install = ["python", "-m", "pip", "install", "--no-cache-dir", "--quiet", *words]
            if line not in steps:
                install[0] = str(venv / "bin" / "python")
                steps[line] = run(line, install, work, {**outside, **path})
    files = (path.lstat() for path in venv.rglob("*"))
    environment = sum(each.st_size for each in files if stat.S_ISREG(each.st_mode))
    for name, check in TUTORIALS.items():
        folder = work / name
        folder.mkdir()
        for module in {name, *modules(scripts[name])}:
            (folder / f"{module}.py").write_bytes((EXAMPLES / f"{module}.py").read_bytes())
        command = [str(venv / "bin" / "python"), f"{name}.py"]
        step = run(f"examples/{name}.py", command, folder, path)

        def tool(words: list[str], folder: Path = folder) -> str:
            words = [str(venv / "bin" / words[0]), *words[1:]]
            return run(shlex.join(words), words, folder, path).output

        check(folder, step.output, tool)
        steps[f"examples/{name}.py"] = step
    versions = run(
        "the versions of packages",
        [
            str(venv / "bin" / "python"),
            "-c",
            "from importlib.metadata import version\n"
            "print(*(f'{n} {version(n)}' for n in ('tensorflow', 'keras')), sep=', ')",
        ],
        work,
        path,
    ).output.strip()
    return table(steps, environment, versions)


def table(steps: dict[str, Step], environment: int, versions: str) -> str:
    """The steps in Markdown, after a sentence that says where they were run."""
    rows = [
        f"| `{name}` | {step.seconds:.0f} | {step.peak / 1e6:,.0f} MB |\n"
        for name, step in steps.items()
    ]
    total = sum(step.seconds for step in steps.values())
    peak = max(step.peak for step in steps.values())
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}; "
        f"the environment takes {environment / 1e9:.1f} GB.\n\n"
        "| step | seconds | peak memory of a process |\n| --- | --- | --- |\n"
        + "".join(rows)
        + f"| all | {total:.0f} | {peak / 1e6:,.0f} MB |\n"
    )


def put_into_page(page: Path, text: str) -> None:
    """Puts a text between the two marks of a page.

    Raises:
        SystemExit: The page has no such marks.
    """
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    expect(bool(begin and end), f"{page} has no {BEGIN.strip()} and {END.strip()}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path, help="as scripts/build_wheel.sh makes it")
    parser.add_argument("--docs", type=Path, help="writes the table into start.md of this folder")
    arguments = parser.parse_args()
    expect(arguments.wheel.is_file(), f"{arguments.wheel} is no file")
    with tempfile.TemporaryDirectory(prefix="keras-int8nmt-first-hour.") as folder:
        text = first_hour(arguments.wheel.resolve(), Path(folder).resolve())
    print(text, end="")
    if arguments.docs:
        put_into_page(arguments.docs / "start.md", text)


if __name__ == "__main__":
    main()
