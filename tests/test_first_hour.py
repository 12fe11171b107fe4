"""The first hour installs and runs what tutorials say, and ends where a step lacks something."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "first_hour.py"))
WHEEL = Path("/wheels/keras_int8nmt-0.1.0-py3-none-any.whl")
TUTORIALS = {
    name: (ROOT / "examples" / f"{name}.py").read_text("utf-8") for name in SCRIPT["TUTORIALS"]
}
by_tutorial = pytest.mark.parametrize("name", TUTORIALS)


def run(program: str, folder: Path):
    return SCRIPT["run"]("the step", [sys.executable, "-c", program], folder, dict(os.environ))


@by_tutorial
def test_each_tutorial_says_what_to_install(name):
    commands = list(SCRIPT["installs"](TUTORIALS[name], WHEEL))
    assert len(commands) == 1
    assert commands[0][0] == str(WHEEL)


def test_the_wheel_stands_in_for_the_package_alone_and_keeps_extras():
    text = "# # Title\n#\n#     pip install 'keras-int8nmt[serve]' keras-int8nmt-more httpx2\n"
    (words,) = SCRIPT["installs"](text, WHEEL)
    assert words == [f"{WHEEL}[serve]", "keras-int8nmt-more", "httpx2"]


@by_tutorial
def test_every_module_beside_a_tutorial_goes_along(name):
    imported = re.findall(r"^(?:from|import) (\w+)", TUTORIALS[name], re.MULTILINE)
    beside = {module for module in imported if (ROOT / "examples" / f"{module}.py").is_file()}
    assert SCRIPT["modules"](TUTORIALS[name]) == beside
    assert bool(beside) == (name == "tutorial_opus_mt")


def test_a_step_that_fails_is_told_with_its_last_words(tmp_path):
    with pytest.raises(SystemExit, match=r"(?s)no such folder.*the step failed with exit code 3"):
        run("import sys; print('no such folder'); sys.exit(3)", tmp_path)


def test_memory_of_processes_that_a_step_starts_counts(tmp_path):
    # In a process of its own: a child begins with the memory of what started it; pytest is large.
    program = f"""
import os, runpy, sys
from pathlib import Path
run = runpy.run_path({str(ROOT / "scripts" / "first_hour.py")!r})["run"]
inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', {{!r}}], check=True)"
for size in (1, 200_000_000):
    command = [sys.executable, "-c", inner.format(f"bytearray(b'x') * {{size}}")]
    print(run("the step", command, Path(), dict(os.environ)).peak)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    small, large = map(int, done.stdout.split())
    assert small < 200_000_000 < large


def numbers(folder: Path, served: list[str]):
    """What the first tutorial leaves, and a command line that translates so."""
    sources = [f"sentence {i}" for i in range(20)]
    (folder / "valid.en").write_text("\n".join(sources) + "\n", "utf-8")
    (folder / "valid.de").write_text("".join(f"Satz {i}\n" for i in range(20)), "utf-8")

    def command(words):
        (folder / words[words.index("-o") + 1]).write_text("\n".join(served) + "\n", "utf-8")
        return ""

    output = "BLEU: float 99.50, INT8 99.40\ndifference, 95 %: -0.20 to +0.10\n"
    output += "".join(f"sentence {i} -> Satz {i}\n" for i in range(3))
    return folder, output, command


def test_the_trained_model_has_to_translate_on_the_command_line_as_in_the_tutorial(tmp_path):
    check = SCRIPT["TUTORIALS"]["tutorial_from_text"]
    good = [f"Satz {i}" for i in range(20)]
    check(*numbers(tmp_path, good))
    for served, message in {
        (*good[:10],): "10 translations of 20",
        ("falsch",) * 20: "0 of 20 translations are right",
        ("Satz 7", *good[1:]): "not as the tutorial has it: Satz 7",
    }.items():
        with pytest.raises(SystemExit, match=message):
            check(*numbers(tmp_path, list(served)))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("difference", "nothing", "no BLEU with an interval"),
        ("INT8 99.40", "INT8 90.40", r"BLEU in INT8 90\.4, in float 99\.5"),
    ],
)
def test_the_first_tutorial_has_to_say_what_int8_costs(before, after, message, tmp_path):
    folder, output, command = numbers(tmp_path, [f"Satz {i}" for i in range(20)])
    with pytest.raises(SystemExit, match=message):
        SCRIPT["TUTORIALS"]["tutorial_from_text"](folder, output.replace(before, after), command)


def test_the_second_tutorial_has_to_leave_a_translation_a_line(tmp_path):
    check = SCRIPT["TUTORIALS"]["tutorial_opus_mt"]
    (tmp_path / "test.en").write_text("one\ntwo\n", "utf-8")
    with pytest.raises(SystemExit, match=r"left no translated\.de"):
        check(tmp_path, "BLEU", None)
    for text, message in {
        "eins\n": "1 lines of 2",
        "eins\n \n": "1 translations are empty",
    }.items():
        (tmp_path / "translated.de").write_text(text, "utf-8")
        with pytest.raises(SystemExit, match=message):
            check(tmp_path, "BLEU", None)


def test_the_table_takes_the_place_between_the_marks_alone(tmp_path):
    page = tmp_path / "start.md"
    begin, end = SCRIPT["BEGIN"], SCRIPT["END"]
    page.write_text(f"before\n{begin}old\n{end}after\n", "utf-8")
    SCRIPT["put_into_page"](page, "new\n")
    assert page.read_text("utf-8") == f"before\n{begin}\nnew\n\n{end}after\n"
    page.write_text("before\n", "utf-8")
    with pytest.raises(SystemExit, match="first hour: begin"):
        SCRIPT["put_into_page"](page, "new\n")
