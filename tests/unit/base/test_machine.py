from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from lambent.base import machine
from lambent.base.machine import MISSING, OK, WEAK


def test_this_machines_kernel_is_new_enough():
    assert machine.kernel().status == OK


def test_a_kernel_without_the_calls_blocks(monkeypatch):
    monkeypatch.setattr(machine, "try_out", lambda name: "the kernel has no mount_setattr (Linux 5.12)")
    check = machine.kernel()
    assert check.status == MISSING
    assert "mount_setattr" in check.detail
    assert check.remedy == "use Linux 5.12 or newer"


@pytest.mark.parametrize("name", ["darwin", "freebsd14"])
def test_another_system_blocks(monkeypatch, name):
    monkeypatch.setattr("sys.platform", name)
    assert machine.kernel().status == MISSING


def test_a_probe_that_does_not_exist_is_a_reason_and_no_crash():
    assert machine.try_out("nonsense")


def test_a_probe_that_hangs_is_a_reason_and_no_crash(monkeypatch):
    monkeypatch.setattr(machine, "_PROBE_SECONDS", 0.001)
    assert "timed out" in (machine.try_out("kernel") or "")


@pytest.mark.parametrize(
    ("check", "status"),
    [("namespaces", MISSING), ("seccomp", MISSING)],
)
def test_what_a_probe_says_is_shown_with_a_remedy(monkeypatch, check, status):
    monkeypatch.setattr(machine, "try_out", lambda name, *arguments: "Operation not permitted")
    result = getattr(machine, check)()
    assert result.status == status
    assert "Operation not permitted" in result.detail
    assert result.remedy


@pytest.mark.parametrize(
    ("check", "why", "remedy"),
    [
        ("overlay", "mount overlay on /x: No such device", "sudo modprobe overlay"),
        ("overlay", "Operation not permitted", None),
        ("disk", "[Errno 2] No such file or directory: '/dev/loop-control'", "sudo modprobe loop"),
        ("disk", "Operation not permitted", None),
    ],
)
def test_a_remedy_is_named_only_where_it_would_help(monkeypatch, check, why, remedy):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *arguments, **settings: "/usr/sbin/mkfs.ext4")
    monkeypatch.setattr(machine, "try_out", lambda name, *arguments: why)
    result = getattr(machine, check)()
    assert (result.status, result.remedy) == (WEAK, remedy)
    assert why in result.detail


def test_a_disk_needs_root(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert machine.disk().status == WEAK
    assert "need root" in machine.disk().detail


def test_a_disk_needs_mkfs(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(machine, "_SYSTEM_PATH", "/nowhere")
    check = machine.disk()
    assert (check.status, check.remedy) == (WEAK, "sudo apt-get install e2fsprogs")


def test_limits_need_root(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert machine.limits().status == WEAK


def test_limits_need_the_controllers(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = machine.Controllers("v1", {"memory": Path("/nowhere")})
    monkeypatch.setattr(machine, "controllers", lambda: found)
    check = machine.limits()
    assert check.status == WEAK
    assert "pids, freezer" in check.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="makes cgroups: needs root")
def test_trying_the_limits_leaves_nothing_behind():
    before = machine.controllers()
    machine.limits()
    for parent in before.parents.values():
        assert not list(parent.glob("lambent-check-*"))


def write_tree(root: Path, controllers: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "cgroup.controllers").write_text(controllers)
    (root / "cgroup.subtree_control").write_text("")
    return root


def test_the_unified_hierarchy_is_preferred_where_it_has_memory(tmp_path):
    unified = write_tree(tmp_path / "unified", "cpu memory pids")
    mounts, own = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text(f"cgroup {tmp_path} cgroup rw,memory 0 0\ncgroup2 {unified} cgroup2 rw 0 0\n")
    own.write_text("0::/\n")
    found = machine.controllers(mounts, own)
    assert found.version == "v2"
    assert found.parents == dict.fromkeys(("memory", "pids", "cpu", "freezer"), unified)


def test_a_delegated_part_of_the_unified_hierarchy_will_do(tmp_path):
    unified = tmp_path / "unified"
    inner = write_tree(unified / "user.slice", "memory pids")
    mounts, own = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text(f"cgroup2 {unified} cgroup2 rw 0 0\n")
    own.write_text("0::/user.slice\n")
    assert machine.controllers(mounts, own).parents["memory"] == inner


def test_an_empty_unified_hierarchy_leaves_it_to_v1(tmp_path):
    unified = write_tree(tmp_path / "unified", "")
    mounts, own = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text(f"cgroup {tmp_path} cgroup rw,relatime,memory 0 0\ncgroup2 {unified} cgroup2 rw 0 0\n")
    own.write_text("4:memory:/x\n0::/\n")
    assert machine.controllers(mounts, own) == machine.Controllers("v1", {"memory": tmp_path})


def test_no_cgroups_at_all(tmp_path):
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\n")
    (tmp_path / "own").write_text("")
    assert machine.controllers(tmp_path / "mounts", tmp_path / "own").version == "none"


@pytest.mark.parametrize(("kibibytes", "status"), [(100_000, WEAK), (8_000_000, OK)])
def test_memory(tmp_path, kibibytes, status):
    file = tmp_path / "meminfo"
    file.write_text(f"MemTotal:       9000000 kB\nMemAvailable:   {kibibytes} kB\nHugePages_Total:  0\n")
    assert machine.memory(file).status == status


def test_a_data_directory_that_can_be_made(tmp_path):
    assert machine.data_directory(tmp_path / "a/b/c").status == OK
    assert not (tmp_path / "a").exists()


def test_a_data_directory_under_a_file_blocks(tmp_path):
    (tmp_path / "file").write_text("")
    check = machine.data_directory(tmp_path / "file/data")
    assert (check.status, check.remedy) == (MISSING, "choose another with --data-dir DIRECTORY")


def test_a_full_disk_is_weak(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5 << 20})())
    assert machine.data_directory(tmp_path).status == WEAK


def test_interpreters_are_found_where_pyenv_and_uv_keep_them(tmp_path):
    for place in (
        ".pyenv/versions/3.9.2/bin/python3.9",
        ".pyenv/versions/3.9.18/bin/python3.9",
        ".local/share/uv/python/cpython-3.14.1-linux/bin/python3.14",
    ):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("")
        (tmp_path / place).chmod(0o755)
    found = dict(machine.interpreters(tmp_path))
    assert "3.14" in found
    assert "3.9" in found


def test_no_python_blocks(monkeypatch):
    monkeypatch.setattr(machine, "interpreters", lambda: iter(()))
    assert machine.pythons().status == MISSING


def test_the_runtime_client(monkeypatch):
    assert machine.runtime_client().status == OK
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check = machine.runtime_client()
    assert check.status == MISSING
    assert "pip install awslambdaric" in (check.remedy or "")


def test_ports():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert machine.port("127.0.0.1", number).status == MISSING
    assert machine.port("127.0.0.1", number).status == OK
    assert machine.port("127.0.0.1", 0).status == OK
    assert machine.port("192.0.2.1", 80).status == MISSING


def test_the_internet_needs_root(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    check = machine.internet()
    assert check.status == WEAK
    assert "runs as root" in check.detail


def test_the_internet_needs_nft(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(machine, "_SYSTEM_PATH", "/nowhere")
    assert (machine.internet().status, machine.internet().remedy) == (WEAK, "sudo apt-get install nftables")


def test_the_internet_needs_name_servers(monkeypatch):
    monkeypatch.setattr(machine, "no_router", lambda: None)
    monkeypatch.setattr(machine, "name_servers", lambda: ("", ()))
    assert machine.internet().status == WEAK
    monkeypatch.setattr(machine, "name_servers", lambda: ("nameserver 192.0.2.1\n", ("192.0.2.1",)))
    assert machine.internet().status == OK


@pytest.mark.parametrize(
    ("shown", "dropped"),
    [
        ("type filter hook forward priority filter; policy drop;\njump DOCKER-USER", True),
        ('type filter hook forward priority filter; policy drop;\niifname "lambent*" counter accept', False),
        ("type filter hook forward priority filter; policy accept;", False),
        ("type filter hook input priority filter; policy drop;", False),
        ("", False),
    ],
)
def test_a_firewall_that_drops_what_is_forwarded_is_named(monkeypatch, shown, dropped):
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/sbin/nft")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(stdout=shown, returncode=0))
    assert machine.drops_forwarded() is dropped
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert (machine.DROPPED in machine.internet().detail) is dropped


def test_name_servers_on_the_loopback_are_left_out(tmp_path):
    stub, behind = tmp_path / "stub", tmp_path / "behind"
    stub.write_text("# systemd-resolved\nnameserver 127.0.0.53\noptions edns0\nsearch example.org\n")
    assert machine.name_servers([stub, tmp_path / "missing"]) == ("", ())
    behind.write_text("nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver\ndomain x\nsearch a b\n")
    assert machine.name_servers([stub, behind]) == ("nameserver 192.0.2.1\nsearch a b\n", ("192.0.2.1",))
    stub.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.2\noptions ndots:2\n")
    assert machine.name_servers([stub, behind]) == ("nameserver 192.0.2.2\noptions ndots:2\n", ("192.0.2.2",))
