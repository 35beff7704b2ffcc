"""What this machine can and cannot do, found by trying.

Every check answers a `Check`; none raises. Most start a short process (`probes.py`) and take a tenth of a
second: call them in a thread where a loop must not wait.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

OK, WEAK, MISSING = "ok", "weak", "missing"
ABSENT = "absent"  # something that not everybody wants
MIB = 1 << 20
CONTROLLERS = ("memory", "pids", "cpu", "freezer")
PYTHON_VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

_PROBES = Path(__file__).with_name("probes.py")
_AS_ROOT = f"sudo {sys.executable} -m lambent serve"
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_PROBE_SECONDS = 20
DROPPED = "another firewall drops what this machine forwards, as Docker's does"
_LET_THROUGH = (
    "iptables -I DOCKER-USER -i lambent+ -j ACCEPT",
    "iptables -I DOCKER-USER -o lambent+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
)
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_LITTLE_MEMORY = 512 * MIB
_LITTLE_DISK = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried."""

    name: str
    status: str  # OK; WEAK: works with a weaker promise; MISSING: Lambent cannot serve without it; ABSENT
    detail: str  # what was found and what it means
    remedy: str | None = None  # the command or the change that mends it


def try_out(name: str, *arguments: str) -> str | None:
    """Run one probe in a process of its own: None when it worked, else why not."""
    command = [sys.executable, "-I", "-S", str(_PROBES), name, *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if result.returncode == 0:
        return None
    return (result.stdout.strip() or result.stderr.strip() or f"exit status {result.returncode}").splitlines()[-1]


def kernel() -> Check:
    release = platform.release()
    if sys.platform != "linux":
        return Check("kernel", MISSING, f"this is {sys.platform}; Lambent runs on Linux", "use a Linux machine or VM")
    if platform.machine() not in ("x86_64", "aarch64"):
        return Check("kernel", MISSING, f"{platform.machine()} is neither x86_64 nor aarch64", None)
    if why := try_out("kernel"):
        return Check("kernel", MISSING, f"Linux {release}: {why}", "use Linux 5.12 or newer")
    return Check("kernel", OK, f"Linux {release} on {platform.machine()}")


def namespaces() -> Check:
    """Whether a function can get its own view of files, processes and network."""
    if why := try_out("namespaces"):
        return Check("namespaces", MISSING, f"functions cannot be fenced in: {why}", _namespace_remedy())
    way = "as root" if os.geteuid() == 0 else "through user namespaces, without root"
    return Check("namespaces", OK, f"each function gets its own files, processes and network, {way}")


def _namespace_remedy() -> str:
    if os.geteuid() == 0:
        return "in a container: start it with --privileged (namespaces and mounts need CAP_SYS_ADMIN)"
    switches = {
        "/proc/sys/kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone=1"),
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        "/proc/sys/user/max_user_namespaces": ("0", "user.max_user_namespaces=15000"),
    }
    for path, (closed, setting) in switches.items():
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == closed:
                return f"sudo sysctl -w {setting}"
    return "run Lambent as root; in a container start it with --privileged"


def seccomp() -> Check:
    if why := try_out("seccomp"):
        remedy = "use a kernel with CONFIG_SECCOMP_FILTER"
        return Check("seccomp", MISSING, f"system calls cannot be filtered: {why}", remedy)
    return Check("seccomp", OK, "dangerous system calls can be refused")


def overlay() -> Check:
    if why := try_out("overlay"):
        detail = f"functions with two layers or more do not start: overlay mounts do not work ({why})"
        return Check("overlay", WEAK, detail, "sudo modprobe overlay" if "No such device" in why else None)
    return Check("overlay", OK, "a function's layers become one /opt without a copy")


def disk() -> Check:
    """Whether `/tmp` can be a disk of the function's size instead of memory."""
    name, meaning = "tmp", "a function's /tmp is kept in memory and counts as its own"
    if os.geteuid() != 0:
        return Check(name, WEAK, f"{meaning}: loop devices need root", _AS_ROOT)
    mkfs = shutil.which("mkfs.ext4", path=_SYSTEM_PATH)
    if mkfs is None:
        return Check(name, WEAK, f"{meaning}: mkfs.ext4 is missing", "sudo apt-get install e2fsprogs")
    if why := try_out("disk", mkfs):
        return Check(name, WEAK, f"{meaning}: {why}", "sudo modprobe loop" if "/dev/loop" in why else None)
    return Check(name, OK, "each function's /tmp is a disk of its own with the size it asked for")


@dataclass(frozen=True, slots=True)
class Controllers:
    """The cgroup controllers this process may make groups in: controller → the directory for a new group."""

    version: str  # "v1", "v2" or "none"
    parents: dict[str, Path]


def controllers(mounts: Path = Path("/proc/self/mounts"), own: Path = Path("/proc/self/cgroup")) -> Controllers:
    """v2 where the unified hierarchy has the memory controller and is ours to write, else v1, else none."""
    v1: dict[str, Path] = {}
    for line in mounts.read_text().splitlines():
        _device, point, kind, options = line.split()[:4]
        if kind == "cgroup2" and (root := _delegated(Path(point), own)):
            available = (root / "cgroup.controllers").read_text().split()
            return Controllers("v2", {name: root for name in CONTROLLERS if name in [*available, "freezer"]})
        if kind == "cgroup" and os.access(point, os.W_OK):
            v1.update({name: Path(point) for name in options.split(",") if name in CONTROLLERS})
    return Controllers("v1" if v1 else "none", v1)


def _delegated(mount: Path, own: Path) -> Path | None:
    """The directory of the unified hierarchy where groups with a memory limit can be made."""
    inside = next((line[3:] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    for root in (mount, mount / inside.lstrip("/")):
        with contextlib.suppress(OSError):
            writable = os.access(root, os.W_OK) and os.access(root / "cgroup.subtree_control", os.W_OK)
            if writable and "memory" in (root / "cgroup.controllers").read_text().split():
                return root
    return None


def limits() -> Check:
    """Whether memory and process counts can be bounded and idle functions frozen."""
    meaning = "memory is bounded for each process alone, the number of processes not at all"
    if os.geteuid() != 0:
        return Check("cgroups", WEAK, f"{meaning}: limits need root", _AS_ROOT)
    try:
        found = controllers()
        absent = [name for name in ("memory", "pids", "freezer") if name not in found.parents]
        if absent:
            detail = f"{meaning}: no writable cgroup controller for {', '.join(absent)}"
            return Check("cgroups", WEAK, detail, "in a container: start it with --privileged --cgroupns=host")
        why = _try_groups(found)
    except OSError as error:
        why = str(error)
    if why:
        return Check("cgroups", WEAK, f"{meaning}: {why}", "in a container: start it with --privileged --cgroupns=host")
    return Check("cgroups", OK, f"cgroup {found.version}: memory and processes are bounded, idle functions frozen")


def _try_groups(found: Controllers) -> str | None:
    """Make a group, set a limit, freeze a process in it, take it back. None when all of it worked."""
    if found.version == "v2":
        root = found.parents["memory"]
        (root / "cgroup.subtree_control").write_text("+memory +pids")
    groups = {name: found.parents[name] / f"lambent-check-{os.getpid()}" for name in ("memory", "pids", "freezer")}
    try:
        for group in groups.values():
            group.mkdir(exist_ok=True)
        limit = "memory.max" if found.version == "v2" else "memory.limit_in_bytes"
        (groups["memory"] / limit).write_text(str(64 * MIB))
        (groups["pids"] / "pids.max").write_text("16")
        switch, frozen, thawed = ("cgroup.freeze", "1", "0")
        if found.version == "v1":
            switch, frozen, thawed = ("freezer.state", "FROZEN", "THAWED")
        joined = [str(group / "cgroup.procs") for group in dict.fromkeys(groups.values())]
        return try_out("freezer", str(groups["freezer"] / switch), frozen, thawed, *joined)
    finally:
        for group in dict.fromkeys(groups.values()):
            with contextlib.suppress(OSError):
                group.rmdir()


def memory(meminfo: Path = Path("/proc/meminfo")) -> Check:
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    if available < _LITTLE_MEMORY:
        detail = f"{available // MIB} MiB of memory are free: room for few functions at once"
        return Check("memory", WEAK, detail, "lower max_environments, or end other programs")
    return Check("memory", OK, f"{available // MIB} MiB of memory are free")


def data_directory(path: Path) -> Check:
    """Whether `path` can be made and written, and how much room there is."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Check("data", MISSING, f"{path} cannot be written", "choose another with --data-dir DIRECTORY")
    free = shutil.disk_usage(existing).free
    if free < _LITTLE_DISK:
        detail = f"{free // MIB} MiB are free for {path}: room for little code"
        return Check("data", WEAK, detail, "free some space, or choose another with --data-dir DIRECTORY")
    return Check("data", OK, f"{path}: {free // MIB} MiB are free")


def interpreters(home: Path | None = None) -> Iterator[tuple[str, Path]]:
    """("3.12", "/usr/bin/python3.12") for each Python found, in the best place. None of them is started."""
    user = home or Path.home()
    for version in PYTHON_VERSIONS:
        name = f"python{version}"
        places = [Path("/usr/bin") / name, Path("/usr/local/bin") / name]
        for versions in (user / ".pyenv/versions", Path("/opt/pyenv/versions")):
            places += reversed(_matching(versions, f"{version}.*/bin/{name}"))
        places += _matching(Path("/opt"), f"python*/bin/{name}")
        places += _matching(user / ".local/share/uv/python", f"cpython-{version}.*/bin/{name}")
        for place in places:
            if os.access(place, os.X_OK):
                yield version, place
                break


def _matching(directory: Path, pattern: str) -> list[Path]:
    """Sorted; nothing where the directory is missing or somebody else's."""
    try:
        return sorted(directory.glob(pattern))
    except OSError:
        return []


def pythons() -> Check:
    found = dict(interpreters())
    if not found:
        detail = "no Python that a function could run on was found"
        return Check("python", MISSING, detail, "sudo apt-get install python3")
    return Check("python", OK, ", ".join(f"python{version} ({place})" for version, place in found.items()))


def runtime_client() -> Check:
    if importlib.util.find_spec("awslambdaric") is None:
        detail = "AWS's Python runtime client (awslambdaric) is not installed"
        return Check("client", MISSING, detail, f"{sys.executable} -m pip install awslambdaric")
    return Check("client", OK, "AWS's Python runtime client is installed")


def port(host: str, number: int) -> Check:
    """Whether a server could listen on host:number now."""
    address = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
    try:
        family, kind, _protocol, _name, where = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            detail = f"{address} is in use by another program"
            return Check("port", MISSING, detail, f"stop it, or choose another with --port {number + 1}")
        return Check("port", MISSING, f"cannot listen on {address}: {error.strerror or error}", "choose another host")
    return Check("port", OK, f"{address} is free")


def internet() -> Check:
    """Whether functions can reach the internet through a router of their server's."""
    name, meaning = "internet", "functions do not reach the internet"
    if obstacle := no_router():
        return Check(name, WEAK, f"{meaning}: {obstacle[0]}", obstacle[1])
    if drops_forwarded():
        return Check(name, WEAK, f"{meaning}: {DROPPED}", "; ".join(f"sudo {rule}" for rule in _LET_THROUGH))
    if not name_servers()[1]:
        detail = "functions reach the internet, but find no names: the name servers listen on this machine's loopback"
        return Check(name, WEAK, detail, "name another server in /etc/resolv.conf")
    return Check(name, OK, "functions reach the internet, and nothing of this machine")


def no_router() -> tuple[str, str] | None:
    """Why no router can be made, and what mends it; None when one can, as far as can be told without making it."""
    if os.geteuid() != 0:
        return "it takes a server that runs as root", _AS_ROOT
    nft = shutil.which("nft", path=_SYSTEM_PATH)
    if nft is None:
        return "the command nft is missing", "sudo apt-get install nftables"
    tried = subprocess.run([nft, "list", "tables"], capture_output=True, text=True, timeout=_PROBE_SECONDS)
    if tried.returncode != 0:
        return (
            f"nft: {tried.stderr.strip()}",
            "use a kernel with CONFIG_NF_TABLES, a container with CAP_NET_ADMIN",
        )
    return None


def drops_forwarded() -> bool:
    """Whether a firewall beside ours drops what the machine forwards, and has no exception for Lambent's devices."""
    nft = shutil.which("nft", path=_SYSTEM_PATH)
    if nft is None:
        return False
    shown = subprocess.run(
        [nft, "list", "table", "ip", "filter"], capture_output=True, text=True, timeout=_PROBE_SECONDS
    )
    return bool(re.search(r"hook forward [^;]*; policy drop", shown.stdout)) and '"lambent*"' not in shown.stdout


def name_servers(paths: Sequence[Path] = _RESOLVERS) -> tuple[str, tuple[str, ...]]:
    """(an /etc/resolv.conf for elsewhere, the IPv4 addresses of its name servers), as the machine has them.

    Name servers on the machine's loopback cannot be reached from elsewhere: then those that stand behind them.
    """
    for path in paths:
        try:
            lines = [line.split() for line in path.read_text().splitlines()]
        except OSError:
            continue
        kept = [line for line in lines if len(line) > 1 and line[0] in ("nameserver", "search", "options")]
        servers = [line[1] for line in kept if line[0] == "nameserver"]
        reachable = tuple(server for server in servers if ":" not in server and not server.startswith("127."))
        if reachable:
            words = [line for line in kept if line[0] != "nameserver" or line[1] in reachable]
            return "".join(" ".join(line) + "\n" for line in words), reachable
    return "", ()


def sandbox_checks() -> list[Check]:
    """What stands between a function and the machine, and what it reaches beyond."""
    return [kernel(), namespaces(), seccomp(), limits(), disk(), overlay(), internet()]
