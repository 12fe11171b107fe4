"""The script of continuous integration and the workflow that calls it, part by part."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

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
    assert "No part 'everything'; there are: fast keras" in done.stderr
    assert done.stdout == ""
