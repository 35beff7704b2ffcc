"""Both versions of cgroups, on directories that stand for the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lambent.engine.drivers.cgroups import MIB, NoGroups, V1Groups, V2Groups

GROUP = f"lambent-t-{os.getpid()}"
V2_FILES = {
    "cgroup.procs": "", "cgroup.freeze": "0", "cgroup.kill": "", "pids.max": "max", "memory.max": "max",
    "memory.swap.max": "max", "cpu.weight": "100", "memory.peak": "73400320", "memory.current": "1048576",
    "memory.stat": "anon 10\nfile 31457280\nshmem 1048576\n", "memory.events": "low 0\noom 2\noom_kill 1\n",
    "cgroup.subtree_control": "",
}  # fmt: skip
V1_FILES = {
    "memory": {
        "cgroup.procs": "", "memory.limit_in_bytes": "", "memory.max_usage_in_bytes": "73400320",
        "memory.memsw.limit_in_bytes": "", "memory.stat": "cache 31457280\nshmem 1048576\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    },
    "pids": {"cgroup.procs": "", "pids.max": "max"},
    "cpu": {"cgroup.procs": "", "cpu.shares": "1024"},
    "freezer": {"cgroup.procs": "", "freezer.state": "THAWED"},
}  # fmt: skip


def fill(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def test_version_1(tmp_path: Path) -> None:
    mounts = {name: tmp_path / name for name in V1_FILES}
    for name, files in V1_FILES.items():
        mounts[name].mkdir()
        fill(mounts[name] / GROUP / "e1", files)
    groups = V1Groups("t", mounts)
    group = groups.create("e1")
    assert groups.can_limit
    assert group.can_freeze
    group.limit(256)
    base = {name: mounts[name] / GROUP / "e1" for name in mounts}
    assert (base["memory"] / "memory.limit_in_bytes").read_text() == str(256 * MIB)
    assert (base["pids"] / "pids.max").read_text().startswith("1024")
    assert int((base["cpu"] / "cpu.shares").read_text()[:3]) == 148
    group.attach(4242)
    assert all((path / "cgroup.procs").read_text() == "4242" for path in base.values())
    assert group.peak() == 70 * MIB
    assert group.cached() == 29 * MIB
    assert group.out_of_memory() == 1
    assert group.processes() == [4242]
    group.freeze()
    assert (base["freezer"] / "freezer.state").read_text() == "FROZEN"
    group.thaw()
    assert (base["freezer"] / "freezer.state").read_text() == "THAWED"


def test_version_2(tmp_path: Path) -> None:
    fill(tmp_path, {"cgroup.subtree_control": ""})
    parent = tmp_path / GROUP
    fill(parent, {"cgroup.subtree_control": ""})
    groups = V2Groups("t", tmp_path)
    groups.start()
    assert (parent / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    fill(parent / "e1", V2_FILES)
    group = groups.create("e1")
    group.limit(1769)
    assert (parent / "e1" / "memory.max").read_text() == str(1769 * MIB)
    assert (parent / "e1" / "cpu.weight").read_text() == "100"
    assert (parent / "e1" / "memory.swap.max").read_text().startswith("0")
    assert group.peak() == 70 * MIB
    assert group.cached() == 29 * MIB
    assert group.out_of_memory() == 1
    group.freeze()
    assert (parent / "e1" / "cgroup.freeze").read_text() == "1"
    group.thaw()
    assert (parent / "e1" / "cgroup.freeze").read_text() == "0"
    assert group.freezer_fd() is None


@pytest.mark.parametrize(("memory", "weight"), [(128, "7"), (10240, "578")])
def test_cpu_follows_memory(tmp_path: Path, memory: int, weight: str) -> None:
    fill(tmp_path / GROUP / "e1", V2_FILES | {"cpu.weight": ""})
    group = V2Groups("t", tmp_path).create("e1")
    group.limit(memory)
    assert (tmp_path / GROUP / "e1" / "cpu.weight").read_text() == weight


def test_without_cgroups_nothing_is_measured() -> None:
    groups = NoGroups()
    group = groups.create("e1")
    group.limit(128)
    assert not groups.can_limit
    assert (group.peak(), group.out_of_memory(), group.processes()) == (0, 0, [])


def test_what_dead_servers_left_is_cleared_and_a_living_ones_is_not(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    gone, ours_before, living = "lambent-x-999999999", "lambent-t-1", "lambent-y-1"
    for name in (gone, ours_before, living):
        (memory / name).mkdir()
    V1Groups("t", {"memory": memory}).start()
    assert {path.name for path in memory.iterdir()} == {living, GROUP}
