from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lambent.engine.drivers.bundle import Container, config


def make(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "root": Path("/roots/python3.11"),
        "command": ("/var/lang/bin/python3.11", "container.py"),
        "environment": {"PATH": "/bin"},
        "rlimits": {"RLIMIT_NOFILE": (1024, 1024), "RLIMIT_STACK": (8388608, -1)},
        "binds": {"/var/task": Path("/trees/code"), "/tmp": Path("/containers/1/tmp")},
        "network": "/proc/7/fd/9",
        "group": "/lambent-t-1/1",
        "memory": 256,
    }
    found = config(Container(**known | changes))
    json.dumps(found)
    return found


def test_what_runs_has_hardly_a_privilege() -> None:
    process = make()["process"]
    assert process["noNewPrivileges"] is True
    for capabilities in process["capabilities"].values():
        assert set(capabilities) == {"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP"}
    assert process["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024},
        {"type": "RLIMIT_STACK", "soft": 8388608, "hard": 2**64 - 1},
    ]


def test_everything_is_its_own_and_read_only_but_tmp() -> None:
    binds = {"/var/task": Path("/code"), "/opt": Path("/opt"), "/tmp": Path("/tmp"), "/mnt": Path("/mnt")}
    found = make(binds=binds)
    assert found["root"]["readonly"] is True
    mounts = {mount["destination"]: mount for mount in found["mounts"]}
    assert {target for target, mount in mounts.items() if "rw" in mount["options"]} == {"/tmp", "/mnt"}
    for target in ("/var/task", "/opt"):
        assert "ro" in mounts[target]["options"]
    for mount in mounts.values():
        assert "nosuid" in mount["options"]
    namespaces = {entry["type"]: entry.get("path") for entry in found["linux"]["namespaces"]}
    assert namespaces.pop("network") == "/proc/7/fd/9"
    assert set(namespaces) == {"pid", "mount", "ipc", "uts", "cgroup"}
    assert set(namespaces.values()) == {None}


def test_limits() -> None:
    linux = make()["linux"]
    assert linux["cgroupsPath"] == "/lambent-t-1/1"
    resources = linux["resources"]
    assert resources["memory"] == {"limit": 256 << 20}
    assert resources["pids"] == {"limit": 1024}
    assert resources["cpu"] == {"shares": 148}
    assert resources["devices"] == [{"allow": False, "access": "rwm"}]


def test_without_root_the_init_alone_filters_system_calls() -> None:
    found = make(user_namespace=True)
    assert "seccomp" not in found["linux"]
    assert "CAP_SETFCAP" in found["process"]["capabilities"]["effective"]
    assert "/dev" in found["linux"]["readonlyPaths"]


def test_a_machine_without_groups_has_no_limits() -> None:
    assert {"cgroupsPath", "resources"}.isdisjoint(make(group=None)["linux"])


@pytest.mark.parametrize("name", ["ptrace", "mount", "unshare", "bpf", "open_tree", "kexec_load", "keyctl"])
def test_the_bundle_refuses_system_calls_by_name(name: str) -> None:
    rules = make()["linux"]["seccomp"]["syscalls"]
    assert any(name in rule["names"] and not rule["args"] and rule["action"] == "SCMP_ACT_ERRNO" for rule in rules)
