"""The filter, run by a small interpreter of classic BPF: what the kernel would decide for any system call."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000


def decide(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    arch = seccomp.ARCHITECTURES[machine]
    values = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, arch.audit if audit is None else audit, 0, *values)
    program = seccomp.program(machine)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    place, accumulator = 0, 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            truth = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: bool(accumulator & value)}[operation]
            place += if_true if truth else if_false


def refused(number: int) -> int:
    return 0x00050000 | number


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_is_denied_is_refused(machine: str) -> None:
    arch = seccomp.ARCHITECTURES[machine]
    for name in (
        "ptrace",
        "mount",
        "unshare",
        "setns",
        "bpf",
        "kexec_load",
        "open_by_handle_at",
        "process_vm_readv",
    ):
        assert decide(machine, arch.denied[name]) == refused(errno.EPERM), name
    assert decide(machine, 435) == refused(errno.ENOSYS)  # clone3: the C library falls back to clone
    assert decide(machine, 428) == refused(errno.EPERM)  # open_tree


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_arguments_decide_where_a_call_is_needed(machine: str) -> None:
    arch = seccomp.ARCHITECTURES[machine]
    assert decide(machine, arch.clone, 17) == ALLOW
    assert decide(machine, arch.clone, 0x003D0F00) == ALLOW  # what a thread asks for
    assert decide(machine, arch.clone, 0x10000000 | 17) == refused(errno.EPERM)
    assert [decide(machine, arch.socket, family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert [decide(machine, arch.socket, family) for family in (17, 38, 40)] == [refused(errno.EPERM)] * 3
    assert decide(machine, arch.ioctl, 0, 0x5401) == ALLOW
    assert decide(machine, arch.ioctl, 0, 0x5412) == refused(errno.EPERM)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_another_architecture_is_killed(machine: str) -> None:
    assert decide(machine, 0, audit=0x40000003) == KILL  # 32-bit x86 has other numbers


@given(st.sampled_from(["x86_64", "aarch64"]), st.integers(seccomp.NEWEST_KNOWN + 1, 2**32 - 1))
def test_unknown_calls_do_not_exist(machine: str, number: int) -> None:
    assert decide(machine, number) == refused(errno.ENOSYS)


@given(st.sampled_from(["x86_64", "aarch64"]), st.integers(0, seccomp.NEWEST_KNOWN), st.integers(0, 2**32 - 1))
def test_every_call_is_decided(machine: str, number: int, argument: int) -> None:
    assert decide(machine, number, argument, argument) in (ALLOW, refused(errno.EPERM), refused(errno.ENOSYS))


@pytest.mark.parametrize("number", [0, 1, 2, 9, 39, 57, 59, 61, 62, 202, 231, 257])
def test_everyday_calls_are_allowed_on_x86_64(number: int) -> None:
    assert decide("x86_64", number) == ALLOW


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(KeyError):
        seccomp.program("riscv64")


def profile_refuses(machine: str, name: str, *arguments: int) -> int | None:
    """The error that the OCI profile answers with, None where it lets the call through."""
    for rule in seccomp.profile(machine)["syscalls"]:
        if name in rule["names"] and all(holds(argument, arguments) for argument in rule["args"]):
            return int(rule["errnoRet"])
    return None


def holds(condition: dict[str, int | str], arguments: tuple[int, ...]) -> bool:
    given, value = arguments[int(condition["index"])], int(condition["value"])
    return {
        "SCMP_CMP_EQ": given == value,
        "SCMP_CMP_GT": given > value,
        "SCMP_CMP_MASKED_EQ": given & value == int(condition["valueTwo"]),
    }[str(condition["op"])]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_oci_profile_refuses_what_the_program_does(machine: str) -> None:
    arch = seccomp.ARCHITECTURES[machine]
    for name in (*arch.denied, "open_tree", "fsopen", "pidfd_getfd"):
        assert profile_refuses(machine, name) == errno.EPERM
    for name in ("clone3", "io_uring_setup"):
        assert profile_refuses(machine, name) == errno.ENOSYS
    assert profile_refuses(machine, "read") is None


@given(st.integers(0, 60))
def test_both_know_the_same_socket_families(family: int) -> None:
    number = seccomp.ARCHITECTURES["x86_64"].socket
    allowed = decide("x86_64", number, family, 1, 0) == ALLOW
    assert (profile_refuses("x86_64", "socket", family) is None) == allowed


@given(st.integers(0, 2**32 - 1))
def test_both_know_the_same_clone_flags_and_terminal_requests(value: int) -> None:
    arch = seccomp.ARCHITECTURES["x86_64"]
    assert (profile_refuses("x86_64", "clone", value) is None) == (decide("x86_64", arch.clone, value) == ALLOW)
    for request in (value, 0x5412, 0x541C):
        allowed = decide("x86_64", arch.ioctl, 0, request) == ALLOW
        assert (profile_refuses("x86_64", "ioctl", 0, request) is None) == allowed
