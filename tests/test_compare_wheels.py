"""What is told of two wheels of one commit: nothing where they are equal, else each difference."""

from __future__ import annotations

import runpy
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "compare_wheels.py"))
FILES = {"a.py": b"one\n", "b.so": bytes(range(100))}
TIME = (2026, 11, 29, 12, 0, 0)


def wheel(path, files, time=TIME, mode=0o644):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, time)
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return path


@pytest.fixture
def one(tmp_path):
    return wheel(tmp_path / "one.whl", FILES)


def test_equal_wheels_have_no_differences(one, tmp_path):
    assert SCRIPT["differences"](one, wheel(tmp_path / "other.whl", FILES)) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"files": FILES | {"a.py": b"onE\n"}}, "a.py: 4 and 4 bytes, other from byte 2 on"),
        ({"files": FILES | {"a.py": b"one"}}, "a.py: 4 and 3 bytes, other from byte 3 on"),
        ({"files": {"a.py": FILES["a.py"]}}, "b.so is in one.whl alone"),
        ({"files": FILES | {"c.py": b""}}, "c.py is in other.whl alone"),
        ({"files": dict(reversed(FILES.items()))}, "the files have another order"),
        ({"files": FILES, "time": (2026, 11, 29, 12, 0, 2)}, "a.py: date_time is"),
        ({"files": FILES, "mode": 0o600}, "b.so: external_attr is"),
    ],
)
def test_each_difference_is_named(one, tmp_path, changed, message):
    found = SCRIPT["differences"](one, wheel(tmp_path / "other.whl", **changed))
    assert any(each.startswith(message) for each in found), found
