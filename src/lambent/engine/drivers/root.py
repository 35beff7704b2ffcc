"""What a function's root directory holds: the plan that the launcher builds."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

from lambent.engine import seccomp
from lambent.engine.drivers import interpreter
from lambent.engine.runtimes import Runtime, Start
from lambent.engine.variables import RUNTIME_API_PORT

SANDBOX_USER = "sbx_user1051"  # the name AWS gives it
SANDBOX_UID = 993  # what an unprivileged server makes it look like; with root every environment has its own
UID_BASE = 1_879_048_192  # 0x70000000: far above users, containers and systemd's dynamic ranges
UID_COUNT = 4096

_GUEST = Path(__file__).parent.parent / "guest"
GUEST_INSIDE, _INTERPRETER = interpreter.GUEST, interpreter.PYTHON  # for zygotes and inits: no function sees them
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services",
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
)  # fmt: skip
RESOLVER = "/etc/resolv.conf"
SETTINGS = {
    "/etc/hosts": "127.0.0.1 localhost\n127.0.0.1 sandbox.localdomain sandbox\n::1 localhost\n",
    RESOLVER: "",
    "/etc/hostname": "169.254.0.1\n",
}
_DIRECTORIES = (
    "/.image", "/.lambent", "/.proc", "/dev", "/etc", "/home", "/mnt", "/proc", "/root", "/run", "/tmp", "/var/lang",
    "/var/runtime", "/var/tmp", "/opt/lib", "/var/task/lib",
)  # fmt: skip
# The dynamic loader remembers, from before the function is mounted, which of these exist: so they do.
_ENTRYPOINT = "#!/bin/sh\n# AWS has this file in every environment; the runtime that it would start runs already.\n"
RLIMITS = {  # as AWS sets them, but no core dumps: the kernel may hand those to a program of the host
    "RLIMIT_CORE": (0, 0),
    "RLIMIT_MEMLOCK": (65536, 65536),
    "RLIMIT_NOFILE": (1024, 1024),
    "RLIMIT_STACK": (8388608, -1),
}


def users(*, user_namespace: bool) -> str:
    """`/etc/passwd` of every sandbox: too long for a message, so the driver keeps it in a file."""
    lines = ["root:x:0:0:root:/root:/sbin/nologin", "nobody:x:65534:65534:nobody:/:/sbin/nologin"]
    uids = [SANDBOX_UID] if user_namespace else range(UID_BASE, UID_BASE + UID_COUNT)
    lines += [f"{SANDBOX_USER}:x:{uid}:{uid}::/home/{SANDBOX_USER}:/sbin/nologin" for uid in uids]
    return "\n".join(lines) + "\n"


def launch_plan(
    runtime: Runtime, directory: Path, trees: Path | None, *, user_namespace: bool, resolv_conf: str = ""
) -> dict[str, Any]:
    """The launcher's first message: what to bind, what to write, what to become.

    `directory` holds the mount point `root` and the file `passwd`. `trees` is None where sandboxes get what they need
    of the trees as mounts. `resolv_conf` is the file of that name.
    """
    binds = [(path, path) for path in (*_SYSTEM, *_SETTINGS)]
    binds += [(str(directory / "passwd"), "/etc/passwd"), (str(_GUEST), GUEST_INSIDE)]
    binds += [(str(path), inside) for path, inside in runtime.binds]
    preloaded: tuple[str, ...] = ()
    if runtime.start is Start.FORK:
        python, preloaded = runtime.waiting, ("python_runtime",)
    else:
        python = interpreter.flagged()
        binds.append((sys.base_prefix, _INTERPRETER))
    return {
        "root": str(directory / "root"),
        "trees": str(trees) if trees is not None else None,
        "user_namespace": user_namespace,
        "directories": _DIRECTORIES,
        "binds": binds,
        "files": {
            "/etc/group": f"root:x:0:\n{SANDBOX_USER}:x:{SANDBOX_UID}:\n",
            "/lambda-entrypoint.sh": _ENTRYPOINT,
            **SETTINGS,
            RESOLVER: resolv_conf,
        },
        "command": [*python, f"{GUEST_INSIDE}/zygote.py"],
        "preloaded": preloaded,
        "environment": {
            "LANG": "C.UTF-8",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": f"/var/lang/lib:{_INTERPRETER}/lib",
        },
    }


def container_command(plan: dict[str, Any]) -> tuple[str, ...]:
    """The init of a container on the root of `plan`: it has no zygote, as an OCI runtime starts it."""
    *python, _zygote = plan["command"]
    return (*python, f"{GUEST_INSIDE}/container.py", *plan["preloaded"])


def image_command() -> tuple[str, ...]:
    """The init of a container whose root is a container image."""
    return (*interpreter.self_contained(), f"{GUEST_INSIDE}/container.py")


def listeners(*, door: int | None) -> list[tuple[str, int]]:
    """Where the server listens in the network of every sandbox: the Runtime API and, at port `door`, the AWS API."""
    ports = [RUNTIME_API_PORT] if door is None else [RUNTIME_API_PORT, door]
    return [("127.0.0.1", port) for port in ports]


def common_plan(runtime: Runtime, *, user_namespace: bool, door: int | None) -> dict[str, Any]:
    """What the inits of all environments of `runtime` must know."""
    return {
        "op": "plan",
        "listeners": listeners(door=door),
        "hidden": [GUEST_INSIDE] if runtime.start is Start.FORK else [GUEST_INSIDE, _INTERPRETER],
        "waiting": runtime.waiting if runtime.start is Start.STEM else None,
        "waiting_environment": dict(runtime.variables),
        "reserved": runtime.reserves,
        "user_namespace": user_namespace,
        "uid_map": f"{SANDBOX_UID} 0 1",
        "rlimits": dict(RLIMITS) if user_namespace else RLIMITS | {"RLIMIT_NPROC": (1024, 1024)},
        "seccomp": seccomp.program(platform.machine()).hex(),
    }


def spawn_plan(slot: int) -> dict[str, Any]:
    """What the init of one environment must know. `slot` gives it a user id of its own."""
    return {"uid": UID_BASE + slot % UID_COUNT}
