from __future__ import annotations

from pathlib import Path

from lambent.base.memory import Reading, read

MIB = 1 << 20
MEMINFO = "MemTotal:        1048576 kB\nMemFree:          100 kB\nMemAvailable:     524288 kB\n"


def machine(path: Path, **files: str) -> Path:
    for name, text in files.items():
        file = path / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def test_a_machine_without_groups(tmp_path: Path) -> None:
    proc = machine(tmp_path / "proc", meminfo=MEMINFO)
    assert read(proc, tmp_path / "none") == Reading(1024 * MIB, 512 * MIB, 0.0)


def test_pressure_is_read_where_it_is_measured(tmp_path: Path) -> None:
    line = "some avg10=12.50 avg60=1.00 avg300=0.10 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    proc = machine(tmp_path / "proc", meminfo=MEMINFO, pressure__memory=line)
    assert read(proc, tmp_path / "none").stalled == 12.5


def test_a_containers_limit_is_tighter_than_the_machine(tmp_path: Path) -> None:
    proc = machine(tmp_path / "proc", meminfo=MEMINFO)
    groups = tmp_path / "cgroup"
    groups.mkdir()
    for name, text in {
        "memory.max": str(256 * MIB),
        "memory.current": str(200 * MIB),
        "memory.stat": f"anon 1\ninactive_file {50 * MIB}\n",
    }.items():
        (groups / name).write_text(text)
    assert read(proc, groups) == Reading(256 * MIB, 106 * MIB)
    (groups / "memory.max").write_text("max\n")
    assert read(proc, groups) == Reading(1024 * MIB, 512 * MIB)


def test_version_one_groups(tmp_path: Path) -> None:
    proc = machine(tmp_path / "proc", meminfo=MEMINFO)
    groups = tmp_path / "cgroup" / "memory"
    groups.mkdir(parents=True)
    for name, text in {
        "memory.limit_in_bytes": str(256 * MIB),
        "memory.usage_in_bytes": str(300 * MIB),
        "memory.stat": "total_inactive_file 0\n",
    }.items():
        (groups / name).write_text(text)
    assert read(proc, groups.parent) == Reading(256 * MIB, 0)
    (groups / "memory.limit_in_bytes").write_text("9223372036854771712")
    assert read(proc, groups.parent) == Reading(1024 * MIB, 512 * MIB)


def test_this_machine() -> None:
    reading = read()
    assert 0 < reading.available <= reading.total
