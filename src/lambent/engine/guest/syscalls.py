"""Linux system calls that Python's standard library lacks before 3.12. Runs inside and outside the sandbox."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

# The system calls below have one number on every architecture (they came after the tables were unified).
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_PIDFD_OPEN = 434
SYS_CLOSE_RANGE = 436
SYS_MOUNT_SETATTR = 442
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[platform.machine()]
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}[platform.machine()]

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_IDMAP = 0x100000

_libc = ctypes.CDLL(None, use_errno=True)
_libc_with_lock = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock during a call


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, "{}: {}".format(what, os.strerror(code)))
    return result


def _bytes(text: str | None) -> bytes | None:
    return text.encode() if text is not None else None


def fork() -> int:
    """Fork without what Python has registered to be done in the child: for a child that uses no thread, no lock and
    no randomness of Python's. All of that would be copied memory."""
    return _check(_libc_with_lock.fork(), "fork")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    arguments = (_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data))
    _check(_libc.mount(*arguments), "mount {}".format(target))


def bind(source: str, target: str, flags: int = MS_RDONLY | MS_NOSUID | MS_NODEV) -> None:
    """Bind `source` on `target` and apply `flags` to the new mount (a bind alone would ignore them)."""
    mount(source, target, None, MS_BIND)
    if flags:
        mount(None, target, None, MS_BIND | MS_REMOUNT | flags)


def umount(target: str) -> None:
    _check(_libc.umount2(_bytes(target), MNT_DETACH), "umount {}".format(target))


def pivot_root(new_root: str, put_old: str) -> None:
    _check(_libc.syscall(SYS_PIVOT_ROOT, _bytes(new_root), _bytes(put_old)), "pivot_root")


def open_tree(path: str) -> int:
    """A detached copy of the mount that `path` lies on, from there down, as a descriptor for `move_mount`."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC
    return _check(_libc.syscall(SYS_OPEN_TREE, AT_FDCWD, _bytes(path), ctypes.c_uint(flags)), "open_tree " + path)


def make_read_only(fd: int) -> None:
    """Of a detached mount: nothing in it can be written, run as another user or used as a device."""
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
    set_attributes(fd, attributes)


def set_attributes(fd: int, attributes: int, user_namespace: int = 0) -> None:
    """Of a detached mount, which becomes private. MOUNT_ATTR_IDMAP takes the descriptor of a user namespace."""
    structure = struct.pack("=4Q", attributes, 0, MS_PRIVATE, user_namespace)
    result = _libc.syscall(SYS_MOUNT_SETATTR, fd, b"", ctypes.c_uint(AT_EMPTY_PATH), structure, len(structure))
    _check(result, "mount_setattr")


def move_mount(fd: int, target: str) -> None:
    """Attach the detached mount behind `fd` at `target`."""
    arguments = (ctypes.c_int(fd), b"", ctypes.c_int(AT_FDCWD), _bytes(target))
    _check(_libc.syscall(SYS_MOVE_MOUNT, *arguments, MOVE_MOUNT_F_EMPTY_PATH), "move_mount {}".format(target))


def detached_mount(
    kind: str, options: dict[str, str | None], attributes: int = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
) -> int:
    """A new filesystem that is mounted nowhere yet, as a file descriptor for `move_mount`."""
    context = _check(_libc.syscall(SYS_FSOPEN, _bytes(kind), 1), "fsopen {}".format(kind))
    try:
        for key, value in options.items():
            if value is None:
                result = _libc.syscall(SYS_FSCONFIG, context, FSCONFIG_SET_FLAG, _bytes(key), None, 0)
            else:
                result = _libc.syscall(SYS_FSCONFIG, context, FSCONFIG_SET_STRING, _bytes(key), _bytes(value), 0)
            _check(result, "fsconfig {} {}".format(kind, key))
        _check(_libc.syscall(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0), "create {}".format(kind))
        return _check(_libc.syscall(SYS_FSMOUNT, context, 1, attributes), "fsmount {}".format(kind))
    finally:
        os.close(context)


def prctl(option: int, argument: int = 0, extra: int = 0) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(extra), 0, 0), "prctl {}".format(option))


def sethostname(name: str) -> None:
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def pidfd_open(pid: int) -> int:
    return _check(_libc.syscall(SYS_PIDFD_OPEN, pid, 0), "pidfd_open")


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close the descriptors from `first` to `last`, whatever is open."""
    if first > last or _libc.syscall(SYS_CLOSE_RANGE, first, ctypes.c_uint(last), 0) == 0:
        return
    try:  # before Linux 5.9, and in gVisor: one by one, so only those that are there
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        opened = list(range(first, min(last, 1 << 16) + 1))
    for fd in opened:
        if first <= fd <= last:
            with contextlib.suppress(OSError):
                os.close(fd)


def drop_bounding_set() -> None:
    """No program run from here on can ever gain a capability."""
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # past the last capability of this kernel


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets of this thread."""
    header = struct.pack("=Ii", 0x20080522, 0)
    data = struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    _check(_libc.syscall(SYS_CAPSET, header, data), "capset")


def load_seccomp(program: bytes) -> None:
    """Apply the packed BPF `program` (8 bytes an instruction) to this process and all it starts."""
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    header = Program(len(program) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(header), 0, 0), "seccomp")
