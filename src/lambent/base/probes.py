"""Things to try on this machine, each in a process of its own: `python -I -S probes.py NAME [ARGUMENT …]`.

A probe leaves with status 0 when the machine let it, else prints why and leaves with 1. It needs nothing but
the standard library, and changes nothing outside its own process and namespaces that it does not take back.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_REC_PRIVATE = 0x4000 | 1 << 18
SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_PIDFD_OPEN, SYS_MOUNT_SETATTR = 429, 430, 434, 442
ENOSYS = 38
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
LOOP_CTL_GET_FREE, LOOP_CONFIGURE, LO_FLAGS_AUTOCLEAR = 0x4C82, 0x4C0A, 4
GETPPID = {"x86_64": 110, "aarch64": 173}  # a system call that a test filter may refuse without harm

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    texts = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    _check(_libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {kind or source} on {target}")


def _own_namespaces() -> None:
    """Enter new namespaces of every kind a sandbox uses; without root through a user namespace."""
    uid, gid = os.getuid(), os.getgid()
    if os.geteuid() != 0:
        _check(_libc.unshare(CLONE_NEWUSER), "unshare a user namespace")
        maps = (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"))
        for name, text in maps:
            Path("/proc/self", name).write_text(text)
    kinds = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    _check(_libc.unshare(kinds), "unshare mount, pid, network, ipc and uts namespaces")
    _mount("privately", "/", None, MS_REC_PRIVATE)


def _wait_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kernel() -> None:
    """The system calls that mount a function's code and watch its processes."""
    calls = {
        "move_mount (Linux 5.2)": SYS_MOVE_MOUNT,
        "fsopen (Linux 5.2)": SYS_FSOPEN,
        "pidfd_open (Linux 5.3)": SYS_PIDFD_OPEN,
        "mount_setattr (Linux 5.12)": SYS_MOUNT_SETATTR,
    }
    for name, number in calls.items():
        ctypes.set_errno(0)
        # Arguments that can only fail: a kernel without the call says ENOSYS before it looks at them.
        if _libc.syscall(number, -1, None, -1, None, -1) < 0 and ctypes.get_errno() == ENOSYS:
            raise OSError(f"the kernel has no {name}")


def namespaces() -> None:
    """What a sandbox does before it holds a function: own namespaces, /proc, a tmpfs, loopback."""
    _own_namespaces()
    child = os.fork()  # the first process of the new pid namespace
    if child == 0:
        status = 1
        try:
            _mount("proc", "/proc", "proc")
            _mount("tmpfs", tempfile.gettempdir(), "tmpfs", 0, "size=1m")
            _raise_loopback()
            status = 0 if os.getpid() == 1 else 1
        except OSError as error:
            print(error.strerror or error)
        finally:
            sys.stdout.flush()
            os._exit(status)
    if _wait_for(child) != 0:
        sys.exit(1)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        request = fcntl.ioctl(probe, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack("16sh22x", request)[1]
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
        probe.bind(("127.0.0.1", 0))


def seccomp() -> None:
    """Load a filter that refuses one harmless system call, then see it refused."""
    machine = platform.machine()
    if machine not in GETPPID:
        raise OSError(f"there is no filter for {machine} yet; x86_64 and aarch64 have one")
    program = struct.pack("=HBBI", 0x20, 0, 0, 0)  # load the number of the system call
    program += struct.pack("=HBBI", 0x15, 0, 1, GETPPID[machine])
    program += struct.pack("=HBBI", 0x06, 0, 0, 0x00050001)  # EPERM
    program += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # allow
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl no_new_privs")
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0), "prctl seccomp")
    if _libc.syscall(GETPPID[machine]) != -1:
        raise OSError("the filter was loaded and refused nothing")


def overlay() -> None:
    """One overlay of two directories in a mount namespace that goes with this process."""
    _own_namespaces()
    with tempfile.TemporaryDirectory() as directory:
        _mount("tmpfs", directory, "tmpfs")
        for name in ("low", "high", "merged"):
            Path(directory, name).mkdir()
        _mount("overlay", f"{directory}/merged", "overlay", 0, f"lowerdir={directory}/high:{directory}/low")
        _check(_libc.umount2(f"{directory}/merged".encode(), 2), "umount")
        _check(_libc.umount2(directory.encode(), 2), "umount")


def disk(mkfs: str) -> None:
    """A small ext4 image behind a loop device, mounted nowhere: what a size-limited /tmp is made of."""
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(8 << 20)
        command = [mkfs, "-q", "-F", "-b", "4096", "-O", "^has_journal", image.name]
        subprocess.run(command, check=True, capture_output=True)
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
        device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
        info = bytearray(232)  # struct loop_info64: lo_flags lies at byte 52
        struct.pack_into("=I", info, 52, LO_FLAGS_AUTOCLEAR)
        fcntl.ioctl(device, LOOP_CONFIGURE, struct.pack("=II", image.fileno(), 4096) + bytes(info) + bytes(64))
        _own_namespaces()
        with tempfile.TemporaryDirectory() as directory:
            _mount(f"/dev/loop{number}", directory, "ext4")
            _check(_libc.umount2(directory.encode(), 0), "umount")


def freezer(switch: str, frozen: str, thawed: str, *groups: str) -> None:
    """Put a child into cgroups, freeze it, see that it stands still, thaw it.

    `switch` is the freezer's file, `frozen` and `thawed` its two words, `groups` the `cgroup.procs` to join.
    """
    counter = mmap.mmap(-1, 8)
    child = os.fork()
    if child == 0:
        while True:
            counter[:8] = struct.pack("=Q", struct.unpack("=Q", counter[:8])[0] + 1)
    try:
        for group in groups:
            Path(group).write_text(str(child))
        Path(switch).write_text(frozen)
        time.sleep(0.05)
        before = counter[:8]
        time.sleep(0.05)
        if counter[:8] != before:
            raise OSError("the freezer did not stop a process")
    finally:
        Path(switch).write_text(thawed)
        os.kill(child, signal.SIGKILL)
        _wait_for(child)


def container(command: str, *options: str) -> None:
    """Let an OCI runtime make a container of nothing but the system's programs, and run one of them."""
    if os.geteuid() != 0:
        _own_namespaces()
        _mount("none", "/sys/fs/cgroup", "tmpfs")  # no groups: crun would ask which version of them it may not use
    else:
        _check(_libc.unshare(CLONE_NEWNS), "unshare a mount namespace")
        _mount("privately", "/", None, MS_REC_PRIVATE)
        _libc.umount2(b"/sys/fs/cgroup/unified", 2)  # crun takes no mixture of cgroup v1 and v2
    with tempfile.TemporaryDirectory(prefix="lambent-check-") as directory:
        _write_bundle(Path(directory))
        name = Path(directory).name
        line = [command, *options, "--root", f"{directory}/state", "run", "--bundle", directory, name]
        try:
            result = subprocess.run(line, capture_output=True, text=True, timeout=15, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            subprocess.run([*line[: line.index("run")], "delete", "--force", name], capture_output=True)
            raise OSError("a container that should end at once was still there after 15 seconds") from None
        if result.returncode != 0:
            words = (result.stderr or result.stdout).strip().splitlines()
            raise OSError(words[-1] if words else f"exit status {result.returncode}")


def _write_bundle(directory: Path) -> None:
    """A root with the system's programs and libraries in `directory`, and a config.json that runs `true` there."""
    mounts: list[dict[str, object]] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    mounts.append({"destination": "/dev", "type": "tmpfs", "source": "dev", "options": ["nosuid", "mode=755"]})
    for name in ("usr", "bin", "sbin", "lib", "lib64"):
        system, place = Path("/", name), directory / "rootfs" / name
        if system.is_symlink():
            place.symlink_to(os.readlink(system))
        elif system.is_dir():
            place.mkdir(parents=True)
            options = ["bind", "ro"]
            mounts.append({"destination": f"/{name}", "type": "bind", "source": str(system), "options": options})
    kinds = ("pid", "mount", "ipc", "uts", "network")
    process = {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "noNewPrivileges": True}
    config = {
        "ociVersion": "1.0.0",
        "process": process,
        "root": {"path": "rootfs", "readonly": True},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": kind} for kind in kinds]},
    }
    for name in ("proc", "dev"):
        (directory / "rootfs" / name).mkdir()
    (directory / "config.json").write_text(json.dumps(config))


PROBES: dict[str, Callable[..., None]] = {
    probe.__name__: probe for probe in (kernel, namespaces, seccomp, overlay, disk, freezer, container)
}


def main(arguments: list[str]) -> int:
    try:
        PROBES[arguments[0]](*arguments[1:])
    except subprocess.CalledProcessError as error:
        print(error.stderr.decode(errors="replace").strip() or error)
        return 1
    except OSError as error:
        print(error if error.filename else error.strerror or error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
