"""The script of continuous integration, the workflow that calls it, and how parts run together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def ci(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / ".ci" / "run", *arguments], capture_output=True, text=True)


def test_the_workflow_runs_every_part():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    found = re.search(r"part: \[(.*)\]", text)
    assert found is not None
    assert found[1].split(", ") == ci("--list").stdout.split()


def test_a_part_that_is_not_there_is_refused_before_anything_is_made():
    done = ci("lint", "everything")
    assert done.returncode == 2
    assert "No part 'everything'; there are: lint tutorials" in done.stderr
    assert done.stdout == ""


# Parts of a second at most, which say what they saw. All need `base`; `both` has the machine for
# itself.
PARTS = """
work=$(mktemp -d) clone=$work/clone machine=${MACHINE:-2} log=$1
shift
title() { echo "part $1"; }
needs() { [ "$1" = base ] || echo base; }
cores() { if [ "$1" = both ]; then echo 2; else echo 1; fi; }
tell() { echo "$@" >>"$log"; }
counted() { echo "==== $1 in 0.10s ===="; }
part_base() { tell begin base; [ -z "${NO_BASE:-}" ] || return 3; mkdir "$clone"; tell end base; }
part_short() { tell begin short; pwd; counted "2 passed, 1 skipped"; tell end short; }
part_long() {
  tell begin long
  echo first words
  until grep -q "end short" "$log"; do sleep 0.05; done
  counted "3 passed"
  tell end long
}
part_both() { tell begin both; echo "has $cores"; counted "4 passed"; sleep 0.3; tell end both; }
part_broken() { tell begin broken; echo before; false; echo after; }
part_failing() { counted "1 failed, 5 passed"; return 1; }
part_ended() { kill -KILL 0; }
part_endless() { tell "begin endless"; echo "words of endless"; sleep 600; }
. SCRIPT
run_parts "$@"
"""


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "run"
    text = PARTS.replace("SCRIPT", str(ROOT / ".ci" / "side_by_side"))
    path.write_text("set -euo pipefail\n" + text, encoding="utf-8")
    return path


def run_parts(
    script: Path, *parts: str, said: str = "", **environment: str
) -> tuple[int, list[str], list[str]]:
    """The exit status, the lines that were printed, and what happened, in turn."""
    log = script.with_name("log")
    log.touch()
    done = subprocess.run(
        ["bash", script, log, *parts],
        env={**os.environ, "TMPDIR": str(script.parent), **environment},
        capture_output=True,
        text=True,
    )
    assert (said in done.stderr) if said else done.stderr == ""
    assert sorted(path.name for path in script.parent.iterdir()) == ["log", "run"]
    return done.returncode, done.stdout.splitlines(), log.read_text("utf-8").splitlines()


def after(lines: list[str], heading: str) -> list[str]:
    """What a part printed below its heading."""
    (at,) = (i for i, line in enumerate(lines) if line.startswith(f"==== CI part: {heading} ("))
    return lines[at + 1 : lines.index("", at)]


def test_parts_of_one_core_run_together_and_print_when_they_are_over(script):
    status, lines, events = run_parts(script, "long", "short", "both")
    assert status == 0
    assert events[:2] == ["begin base", "end base"]
    # `long` would wait for ever if `short` came after it.
    assert sorted(events[2:6]) == ["begin long", "begin short", "end long", "end short"]
    assert events[6:] == ["begin both", "end both"]
    headings = [line.split(" (")[0] for line in lines if line.startswith("==== CI part")]
    assert headings == [f"==== CI part: part {name}" for name in ("base", "short", "long", "both")]
    (folder, counted) = after(lines, "part short")
    assert Path(folder).name == "clone"
    assert counted == "==== 2 passed, 1 skipped in 0.10s ===="
    assert after(lines, "part long") == ["first words", "==== 3 passed in 0.10s ===="]
    assert after(lines, "part both") == ["has 2", "==== 4 passed in 0.10s ===="]


def test_the_sum_is_of_all_parts_and_each_has_its_time(script):
    status, lines, _ = run_parts(script, "short", "long", "both")
    assert status == 0
    at = lines.index("==== CI: time of each part, and what it took of all cores together")
    times = lines[at + 1 : lines.index("", at)]
    assert [line.split()[0] for line in times] == ["base", "short", "long", "both", "all"]
    assert all(re.fullmatch(r"\w+ +\d+ s +\d+ s  part \w+", line) for line in times[:-1])
    assert re.fullmatch(r"all +\d+ s", times[-1])
    assert lines[-1] == "9 passed, 0 failed, 1 skipped"


@pytest.mark.parametrize("machine", ["1", "2", "3"])
def test_a_part_that_fails_beside_others_is_named_and_hides_nothing(script, machine):
    status, lines, events = run_parts(script, "broken", "short", "both", MACHINE=machine)
    assert status == 1
    assert after(lines, "part broken") == ["before"]
    assert {"end short", "end both"} < set(events)
    assert lines[-3:] == ["FAILED parts: broken", "", "6 passed, 1 failed, 1 skipped"]


def test_a_part_that_is_ended_from_without_is_named(script):
    status, lines, events = run_parts(script, "ended", "short", said="Killed")
    assert status == 1
    assert "end short" in events
    assert lines[-3:] == ["FAILED parts: ended", "", "2 passed, 1 failed, 1 skipped"]


def test_a_test_that_failed_is_counted_once(script):
    status, lines, _ = run_parts(script, "failing", "short")
    assert status == 1
    assert lines[-3:] == ["FAILED parts: failing", "", "7 passed, 1 failed, 1 skipped"]


def test_what_needs_a_part_that_failed_is_not_run(script):
    status, lines, events = run_parts(script, "short", "both", NO_BASE="1")
    assert status == 1
    assert events == ["begin base"]
    assert lines[-5:-3] == ["NOT RUN, as what they need failed: short both", ""]
    assert lines[-3:] == ["FAILED parts: base", "", "0 passed, 1 failed, 0 skipped"]


def test_a_part_by_itself_has_the_whole_machine(script):
    _, lines, _ = run_parts(script, "both", MACHINE="4")
    assert after(lines, "part both")[0] == "has 4"


def test_ended_early_it_ends_its_parts_and_shows_what_they_printed(script):
    log = script.with_name("log")
    process = subprocess.Popen(
        ["bash", script, log, "endless", "short"],
        env={**os.environ, "TMPDIR": str(script.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    while not log.exists() or "end short" not in log.read_text("utf-8"):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    # It would go on as long as anything holds its end of the pipe.
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    lines = output.splitlines()
    assert after(lines, "part endless") == ["words of endless"]
    assert lines[-1] == "2 passed, 1 failed, 1 skipped"
    assert sorted(path.name for path in script.parent.iterdir()) == ["log", "run"]
