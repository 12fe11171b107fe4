"""Two wheels of one commit are equal whatever the umask, and each difference else is named."""

from __future__ import annotations

import runpy
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "compare_wheels.py"))
SET_MODES = runpy.run_path(str(ROOT / "scripts" / "set_wheel_modes.py"))["set_modes"]
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


def test_wheels_that_were_made_under_different_umasks_become_equal(tmp_path):
    wheels = []
    for name, umask in (("one", 0o022), ("other", 0o077), ("group", 0o002)):
        path = tmp_path / f"{name}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, mode in (("d/", 0o40777), ("d/a.py", 0o100666), ("d/run", 0o100777)):
                info = zipfile.ZipInfo(entry, TIME)
                info.external_attr = (mode & ~umask) << 16 | (0x10 if entry == "d/" else 0)
                archive.writestr(info, b"" if entry == "d/" else b"text " * 100)
        SET_MODES(path)
        wheels.append(path)
    assert SCRIPT["differences"](wheels[0], wheels[1]) == []
    assert SCRIPT["differences"](wheels[0], wheels[2]) == []
    with zipfile.ZipFile(wheels[1]) as archive:
        found = {entry.filename: oct(entry.external_attr >> 16) for entry in archive.infolist()}
        assert found == {"d/": "0o40755", "d/a.py": "0o100644", "d/run": "0o100755"}
        assert archive.getinfo("d/").external_attr & 0x10
        assert archive.getinfo("d/a.py").date_time == TIME
        assert archive.read("d/a.py") == b"text " * 100
    assert {path.name for path in tmp_path.iterdir()} == {"one.whl", "other.whl", "group.whl"}
