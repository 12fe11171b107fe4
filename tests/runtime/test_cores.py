"""How many streams a process gets: affinity, and control groups as Linux shows them."""

from __future__ import annotations

import os

import pytest

from keras_int8nmt.runtime.cores import usable_cores

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "31 23 0:27 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
MEMORY = "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
HYBRID = "33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
SERVICE = "system.slice/mt.service"
CPU = "sys/fs/cgroup/cpu,cpuacct"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def tree(folder, mounts, groups, **files):
    """A file system of a machine; `files` by their paths, in which "__" is the folder's end."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/mountinfo").write_text("1 0 8:1 / / rw - ext4 /dev/sda rw\n" + mounts)
    (folder / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def v1(place, quota, period="100000"):
    """The two files of a group of version 1."""
    return {f"{CPU}/{place}cpu.cfs_quota_us": quota, f"{CPU}/{place}cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("50000 100000\n", 1),
        ("150000 100000\n", 2),
        ("1000 100000\n", 1),
        ("25000 10000\n", 3),
        ("99900000 100000\n", 8),
        ("no number\n", 8),
        ("100000\n", 8),
        ("1e400 100000\n", 8),
        ("-1 100000\n", 8),
        ("100000 0\n", 8),
        ("", 8),
    ],
)
def test_a_quota_bounds_the_cores_and_a_part_of_one_is_one(tmp_path, text, cores):
    files = {"sys/fs/cgroup/cpu.max": text}
    assert usable_cores(tree(tmp_path, V2, "0::/\n", **files)) == cores


@pytest.mark.parametrize("level", ["", "system.slice/", f"{SERVICE}/", f"{SERVICE}/inner/"])
def test_the_quota_of_every_group_around_counts_up_to_the_root(tmp_path, level):
    """`CPUQuota=` of systemd is set on a service, or on a slice around it."""
    files = {
        f"sys/fs/cgroup/{SERVICE}/inner/cpu.max": "700000 100000\n",
        f"sys/fs/cgroup/{SERVICE}/cpu.max": "max 100000\n",
        f"sys/fs/cgroup/{level}cpu.max": "300000 100000\n",
    }
    assert usable_cores(tree(tmp_path, V2, f"0::/{SERVICE}/inner\n", **files)) == 3


def test_groups_of_others_do_not_count(tmp_path):
    files = {
        "sys/fs/cgroup/other.slice/cpu.max": "100000 100000\n",
        f"sys/fs/cgroup/{SERVICE}/below/cpu.max": "100000 100000\n",
    }
    assert usable_cores(tree(tmp_path, V2, f"0::/{SERVICE}\n", **files)) == 8


@pytest.mark.parametrize(("quota", "cores"), [("-1\n", 8), ("100000\n", 1), ("250000\n", 3)])
def test_version_1_has_its_quota_in_two_files(tmp_path, quota, cores):
    groups = f"5:memory:/\n4:cpu,cpuacct:/{SERVICE}\n1:name=systemd:/{SERVICE}\n"
    place = tree(tmp_path, MEMORY + V1.format(top="/"), groups, **v1(f"{SERVICE}/", quota))
    assert usable_cores(place) == cores


def test_a_group_around_bounds_one_of_version_1_as_well(tmp_path):
    files = {**v1(f"{SERVICE}/", "600000"), **v1("", "-1"), **v1("system.slice/", "400000")}
    groups = f"4:cpu,cpuacct:/{SERVICE}\n"
    assert usable_cores(tree(tmp_path, V1.format(top="/"), groups, **files)) == 4


def test_of_a_hybrid_system_the_smallest_quota_counts(tmp_path):
    groups = f"4:cpu,cpuacct:/{SERVICE}\n0::/{SERVICE}\n"
    files = {
        **v1(f"{SERVICE}/", "500000"),
        f"sys/fs/cgroup/unified/{SERVICE}/cpu.max": "300000 100000\n",
    }
    place = tree(tmp_path, V1.format(top="/") + HYBRID, groups, **files)
    assert usable_cores(place) == 3
    (place / f"sys/fs/cgroup/unified/{SERVICE}/cpu.max").unlink()
    assert usable_cores(place) == 5


def test_a_container_of_the_hosts_namespace_sees_its_own_group_at_the_mount(tmp_path):
    """Its path is the host's, and the mount shows a part of the tree, whose top is that path."""
    groups = "4:cpu,cpuacct:/docker/1a2b\n"
    place = tree(tmp_path, V1.format(top="/docker/1a2b"), groups, **v1("", "200000"))
    assert usable_cores(place) == 2
    # The whole tree is mounted: the group lies at its path in it.
    other = tree(tmp_path / "b", V1.format(top="/"), groups, **v1("docker/1a2b/", "300000"))
    assert usable_cores(other) == 3
    # A group below the one that is mounted.
    groups = "4:cpu,cpuacct:/docker/1a2b/job\n"
    below = tree(
        tmp_path / "c",
        V1.format(top="/docker/1a2b"),
        groups,
        **v1("job/", "100000"),
        **v1("", "-1"),
    )
    assert usable_cores(below) == 1


@pytest.mark.parametrize("path", ["/", "/../..", "/../other/inner"])
def test_a_namespace_of_its_own_shows_the_group_as_the_root(tmp_path, path):
    files = {"sys/fs/cgroup/cpu.max": "200000 100000\n"}
    mounts = V2.replace(" / ", " /../.. ", 1) if ".." in path else V2
    assert usable_cores(tree(tmp_path, mounts, f"0::{path}\n", **files)) == 2


def test_paths_may_have_spaces_and_colons(tmp_path):
    mounts = V2.replace("/sys/fs/cgroup", "/mnt/my\\040groups")
    files = {"mnt/my groups/a b:c/cpu.max": "200000 100000\n"}
    assert usable_cores(tree(tmp_path, mounts, "0::/a b:c\n", **files)) == 2


@pytest.mark.parametrize(("cpus", "cores"), [("0-2,7\n", 4), ("5\n", 1), ("\n", 8), ("x-y\n", 8)])
def test_the_cores_of_a_cpuset_bound_it(tmp_path, cpus, cores):
    files = {f"sys/fs/cgroup/{SERVICE}/cpuset.cpus.effective": cpus}
    assert usable_cores(tree(tmp_path, V2, f"0::/{SERVICE}\n", **files)) == cores


def test_affinity_bounds_it(tmp_path, monkeypatch):
    place = tree(tmp_path, V2, "0::/\n", **{"sys/fs/cgroup/cpu.max": "400000 100000\n"})
    assert usable_cores(place) == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cores(place) == 2


def test_without_proc_the_usual_place_is_looked_at(tmp_path):
    assert usable_cores(tmp_path) == 8
    (tmp_path / "sys/fs/cgroup/cpu").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("300000 100000\n")
    assert usable_cores(tmp_path) == 3
    (tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == 2


def test_here_it_is_what_this_process_has():
    assert 1 <= usable_cores() <= 8
