"""The system calls a function may not make, as a classic BPF program and as an OCI profile.

A deny list with a ceiling: what is named here is refused, and so is every system call newer than the ones that were
looked at. Refusals answer EPERM; what programs probe for and can do without (`clone3`, `io_uring`) answers ENOSYS.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass
from typing import Any

NEWEST_KNOWN = 462  # mseal; system calls above it answer ENOSYS until someone has looked at them

_NAMESPACE_FLAGS = 0x7E020000  # the CLONE_NEW* bits
_SOCKET_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_TERMINAL_REQUESTS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: put words into somebody's terminal

_UNIFIED = {  # one number on every architecture
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
}  # fmt: skip
_MISSING = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435}

_X86_64 = {
    "personality": 135, "sysfs": 139, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156,
    "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
    "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "create_module": 174, "init_module": 175, "delete_module": 176, "get_kernel_syms": 177, "query_module": 178,
    "quotactl": 179, "nfsservctl": 180, "ptrace": 101, "syslog": 103, "uselib": 134, "lookup_dcookie": 212,
    "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
    "migrate_pages": 256, "unshare": 272, "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
    "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_AARCH64 = {
    "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42, "chroot": 51,
    "vhangup": 58, "quotactl": 60, "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104,
    "init_module": 105, "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142,
    "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "add_key": 217,
    "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225, "migrate_pages": 238, "move_pages": 239,
    "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "finit_module": 273, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Architecture:
    audit: int  # AUDIT_ARCH_* as seccomp reports it
    clone: int
    socket: int
    ioctl: int
    denied: dict[str, int]


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, clone=56, socket=41, ioctl=16, denied=_X86_64),
    "aarch64": Architecture(0xC00000B7, clone=220, socket=198, ioctl=29, denied=_AARCH64),
}

_OCI_ARCHITECTURES = {"x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"], "aarch64": ["SCMP_ARCH_AARCH64"]}
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data (low words of the arguments)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | number)


def _when(number: int, block: list[bytes]) -> list[bytes]:
    """Run `block`, which must end in a return, for the system call `number` only."""
    return [_instruction(_EQUAL, number, 0, len(block)), *block]


def program(machine: str = platform.machine()) -> bytes:
    """The packed program for `machine` ("x86_64" or "aarch64"); KeyError for any other."""
    arch = ARCHITECTURES[machine]
    allow = _instruction(_RETURN, _ALLOW)
    code = [
        _instruction(_LOAD, _ARCH),
        _instruction(_EQUAL, arch.audit, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NR),
        _instruction(_GREATER, NEWEST_KNOWN, 0, 1),
        _refuse(errno.ENOSYS),
    ]
    for number in sorted(_MISSING.values()):
        code += _when(number, [_refuse(errno.ENOSYS)])
    for number in sorted((arch.denied | _UNIFIED).values()):
        code += _when(number, [_refuse(errno.EPERM)])
    flags = _instruction(_ANY_BIT, _NAMESPACE_FLAGS, 0, 1)
    code += _when(arch.clone, [_instruction(_LOAD, _ARG0), flags, _refuse(errno.EPERM), allow])
    families = [
        _instruction(_EQUAL, family, len(_SOCKET_FAMILIES) - index, 0) for index, family in enumerate(_SOCKET_FAMILIES)
    ]
    code += _when(arch.socket, [_instruction(_LOAD, _ARG0), *families, _refuse(errno.EPERM), allow])
    requests = [
        _instruction(_EQUAL, request, len(_TERMINAL_REQUESTS) - index, 0)
        for index, request in enumerate(_TERMINAL_REQUESTS)
    ]
    code += _when(arch.ioctl, [_instruction(_LOAD, _ARG1), *requests, allow, _refuse(errno.EPERM)])
    return b"".join([*code, allow])


def profile(machine: str = platform.machine()) -> dict[str, Any]:
    """The same list in the words of an OCI bundle, without the ceiling, which these cannot tell.

    It holds for all of a container; a function's processes load `program` above it.
    """
    arch = ARCHITECTURES[machine]
    namespaces = [1 << bit for bit in range(32) if _NAMESPACE_FLAGS & 1 << bit]
    families = [family for family in range(max(_SOCKET_FAMILIES)) if family not in _SOCKET_FAMILIES]
    refused = [
        *((["clone"], _compare(0, "SCMP_CMP_MASKED_EQ", flag, flag)) for flag in namespaces),
        *((["socket"], _compare(0, "SCMP_CMP_EQ", family)) for family in families),
        (["socket"], _compare(0, "SCMP_CMP_GT", max(_SOCKET_FAMILIES))),
        *((["ioctl"], _compare(1, "SCMP_CMP_MASKED_EQ", 0xFFFFFFFF, request)) for request in _TERMINAL_REQUESTS),
        (sorted(arch.denied | _UNIFIED), []),
    ]
    rules = [_rule(names, errno.EPERM, arguments) for names, arguments in refused]
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": _OCI_ARCHITECTURES[machine],
        "syscalls": [*rules, _rule(sorted(_MISSING), errno.ENOSYS, [])],
    }


def _compare(index: int, operator: str, value: int, second: int = 0) -> list[dict[str, Any]]:
    return [{"index": index, "op": operator, "value": value, "valueTwo": second}]


def _rule(names: list[str], number: int, arguments: list[dict[str, Any]]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": arguments}
