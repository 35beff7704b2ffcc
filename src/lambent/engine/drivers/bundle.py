"""What an OCI runtime is told about a container: the `config.json` of its bundle.

Source: https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md and config-linux.md. One bundle serves
every runtime; whatever differs between them is a command-line option.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent.engine import seccomp
from lambent.engine.drivers import cgroups

MIB = 1 << 20
HOST_NAME = "169.254.0.1"  # as on AWS

# What the container's init needs to start a runtime that is another user and has none of these.
_CAPABILITIES = ["CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP"]
_NAMESPACES = ("pid", "mount", "ipc", "uts", "cgroup")
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_WRITABLE = ("/tmp", "/mnt")  # /mnt itself is root's: only what is mounted in there can be written
_UNLIMITED = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Container:
    """All that one container's bundle says of it."""

    root: Path
    command: tuple[str, ...]
    environment: dict[str, str]
    rlimits: dict[str, tuple[int, int]]  # "RLIMIT_NOFILE" → (soft, hard); -1: unlimited
    binds: Mapping[str, Path]  # what lies where in it; what is mounted below comes along
    network: str  # the file of its network namespace
    group: str | None  # its cgroup, from the hierarchy's root
    memory: int  # MiB
    user_namespace: bool = False  # it is made inside one that holds a single user


def config(container: Container) -> dict[str, Any]:
    # In a namespace of one user, the runtime becomes another by a namespace of its own, which takes this privilege;
    # the bundle's filter would refuse it, the init's own filter comes after.
    capabilities = [*_CAPABILITIES, *(["CAP_SETFCAP"] if container.user_namespace else [])]
    return {
        "ociVersion": "1.0.0",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(container.command),
            "env": [f"{name}={value}" for name, value in container.environment.items()],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "rlimits": [_rlimit(name, *limits) for name, limits in container.rlimits.items()],
        },
        "root": {"path": str(container.root), "readonly": True},
        "hostname": HOST_NAME,
        "mounts": _mounts(container),
        "linux": _linux(container),
    }


def _rlimit(name: str, soft: int, hard: int) -> dict[str, Any]:
    return {"type": name, "soft": soft, "hard": hard if hard >= 0 else _UNLIMITED}


def _mounts(container: Container) -> list[dict[str, Any]]:
    device_options = ["nosuid", "noexec", "strictatime", "mode=755", "size=65536"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "dev", "options": device_options},
        *(
            {
                "destination": target,
                "type": "bind",
                "source": str(source),
                "options": ["rbind", "rprivate", "nosuid", "nodev", "rw" if target in _WRITABLE else "ro"],
            }
            for target, source in container.binds.items()
        ),
    ]


def _linux(container: Container) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "namespaces": [
            *({"type": kind} for kind in _NAMESPACES),
            {"type": "network", "path": container.network},
        ],
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
        "rootfsPropagation": "private",
    }
    if container.user_namespace:
        linux["readonlyPaths"].append("/dev")  # its owner is the one user that there is
    else:
        linux["seccomp"] = seccomp.profile()
    if container.group is not None:
        linux["cgroupsPath"] = container.group
        linux["resources"] = {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": container.memory * MIB},
            "pids": {"limit": cgroups.PROCESSES},
            "cpu": {"shares": cgroups.shares(container.memory)},
        }
    return linux
