"""A process under ptrace that is made to do system calls it would not do by itself. Only x86_64.

What is at its `syscall` instruction is its own memory; what it is told to do never depends on what it wrote there.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct

AVAILABLE = platform.machine() == "x86_64"

_SINGLESTEP, _CONT, _GETREGS, _SETREGS, _DETACH, _SYSCALL = 9, 7, 12, 13, 17, 24
_SETOPTIONS, _GETEVENTMSG, _SEIZE, _INTERRUPT = 0x4200, 0x4201, 0x4206, 0x4207
_EVENT_FORK = 1
_TRACESYSGOOD, _TRACEFORK, _TRACEVFORK, _TRACECLONE, _EXITKILL, _SUSPEND_SECCOMP = 1, 2, 4, 8, 1 << 20, 1 << 21
OPTIONS = _TRACESYSGOOD | _TRACEFORK | _TRACEVFORK | _TRACECLONE | _EXITKILL
UNFILTERED = OPTIONS | _SUSPEND_SECCOMP  # takes CAP_SYS_ADMIN; a child made meanwhile is unfiltered as well, until told
LAST_OPTIONS = _EXITKILL
_WALL = 0x40000000
_ALL = (1 << 64) - 1
_INSTRUCTION = b"\x0f\x05"  # syscall

CLONE, MMAP, MUNMAP, WRITE, CLOSE, DUP3, SETSID = 56, 9, 11, 1, 3, 292, 112
SETRESUID, SETRESGID, PRCTL, CAPSET, SETNS, PIDFD_OPEN, PIDFD_GETFD = 117, 119, 157, 126, 308, 434, 438

_ROW = struct.Struct("<q6QQ")  # number, arguments, nothing
_DONE = -(1 << 20)  # in place of a number: the end of the table
_AREA, _TABLE, _DATA = 16384, 512, 12288  # bytes of the scratch area; where in it the table and the data begin
# rbx points to a row; stops at the end of the table or after the first failure, with rax telling which.
_PROGRAM = bytes.fromhex(
    "488b03"  # loop: mov rax, [rbx]
    "4885c0"  # test rax, rax
    "7825"  # js stop
    "488b7b08 488b7310 488b5318 4c8b5320 4c8b4328 4c8b4b30"  # mov rdi, rsi, rdx, r10, r8, r9
    "0f05"  # syscall
    "4885c0"  # test rax, rax
    "7806"  # js stop
    "4883c340"  # next: add rbx, 64
    "ebd3"  # jmp loop
    "cc"  # stop: int3
)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Lost(Exception):
    """It does not do what was asked of it."""


class Registers(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_ulonglong)
        for name in (
            "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
            "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
        )
    ]  # fmt: skip

    def copy(self):
        return Registers.from_buffer_copy(self)

    def calling(self, instruction, number, *arguments):
        """These, about to do a system call at `instruction`."""
        copy = self.copy()
        copy.rip, copy.rax, copy.orig_rax = instruction, number & _ALL, _ALL
        for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments):  # noqa: B905
            setattr(copy, name, value & _ALL)
        return copy

    @property
    def result(self):
        return self.rax - (1 << 64) if self.rax >> 63 else self.rax


def _ptrace(request, pid, address=0, data=0):
    if _libc.ptrace(request, pid, address, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, "ptrace {:#x}: {}".format(request, os.strerror(code)))


class Tracee:
    """One thread. Between two calls of a method it stands still, but for `release`."""

    def __init__(self, pid):
        self.pid = pid

    @classmethod
    def seize(cls, pid):
        """Take hold of a process that runs; it is stopped wherever it is."""
        _ptrace(_SEIZE, pid, 0, OPTIONS)
        tracee = cls(pid)
        _ptrace(_INTERRUPT, pid)
        tracee.wait()
        return tracee

    def wait(self):
        """The signal that it has stopped with, and the event of ptrace that it was."""
        _pid, status = os.waitpid(self.pid, _WALL)
        if not os.WIFSTOPPED(status):
            raise Lost("it has ended")
        return os.WSTOPSIG(status), status >> 16

    def options(self, options):
        _ptrace(_SETOPTIONS, self.pid, 0, options)

    @property
    def registers(self):
        registers = Registers()
        _ptrace(_GETREGS, self.pid, 0, ctypes.addressof(registers))
        return registers

    @registers.setter
    def registers(self, registers):
        _ptrace(_SETREGS, self.pid, 0, ctypes.addressof(registers))

    def go_on(self, signal_number=0):
        """Let it run until its next system call, or the end of the one that it is in."""
        _ptrace(_SYSCALL, self.pid, 0, signal_number)

    def next_stop(self):
        """Let it run to the next end of a system call, or before it."""
        self.go_on()
        stopped, event = self.wait()
        if stopped != signal.SIGTRAP | 0x80 or event:
            raise Lost("it does not stand where it should")

    def next_call(self):
        """Let it run until it stands before a system call; signals reach it as ever."""
        number = 0
        while True:
            self.go_on(number)
            stopped, event = self.wait()
            number = 0
            if stopped == signal.SIGTRAP | 0x80:
                registers = self.registers
                if registers.result == -38 and registers.orig_rax != _ALL:  # ENOSYS until it is done: the way in
                    return registers
            elif event:
                raise Lost("it starts a process by other means")
            else:
                number = stopped

    def forked(self):
        """From before a fork to the new process, which stands still."""
        self.go_on()
        return self._new_child()

    def fork(self, registers):
        """The same, with the call that `registers` are about to do."""
        self.registers = registers
        _ptrace(_CONT, self.pid)
        return self._new_child()

    def _new_child(self):
        stopped, event = self.wait()
        if (stopped, event) != (signal.SIGTRAP, _EVENT_FORK):
            raise Lost("it cannot fork: {}".format(os.strerror(max(0, -self.registers.result))))
        message = ctypes.c_ulong()
        _ptrace(_GETEVENTMSG, self.pid, 0, ctypes.addressof(message))
        child = Tracee(message.value)
        child.wait()
        return child

    def call(self, registers):
        """The result of the one system call that `registers` are about to do."""
        self.registers = registers
        for _ in range(3):  # the end of the call that it stood in may be a stop of its own
            _ptrace(_SINGLESTEP, self.pid)
            stopped, event = self.wait()
            after = self.registers
            if stopped != signal.SIGTRAP or event:
                break
            if after.rip == registers.rip + len(_INSTRUCTION):
                if after.result < 0:
                    raise OSError(-after.result, os.strerror(-after.result))
                return after.result
        raise Lost("it does not do a system call")

    def stands_at_call(self, instruction):
        return self.read(instruction, len(_INSTRUCTION)) == _INSTRUCTION

    def read(self, address, size):
        with open("/proc/{}/mem".format(self.pid), "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def write(self, address, data):
        with open("/proc/{}/mem".format(self.pid), "r+b", buffering=0) as memory:
            memory.seek(address)
            memory.write(data)

    def run(self, calls, instruction, registers):
        """Do all of `calls`, in its memory; the address of the area that this took and `forget` gives back."""
        area = self.call(registers.calling(instruction, MMAP, 0, _AREA, 7, 0x22, -1, 0))
        self.write(area, calls.program(area))
        at = registers.copy()
        at.rip, at.rbx, at.orig_rax = area, area + _TABLE, _ALL
        self.registers = at
        _ptrace(_CONT, self.pid)
        stopped, event = self.wait()
        after = self.registers
        if stopped != signal.SIGTRAP or event:
            raise Lost("it does not do what it was told")
        if after.result != _DONE:
            done = (after.rbx - area - _TABLE) // _ROW.size
            raise OSError(-after.result, "{}: {}".format(calls.name(done), os.strerror(-after.result)))
        return area

    def forget(self, area, instruction, registers):
        self.call(registers.calling(instruction, MUNMAP, area, _AREA))

    def release(self, registers):
        """Let it go, with nothing of ours left."""
        self.registers = registers
        _ptrace(_DETACH, self.pid)

    def kill(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, _WALL)
        except (ProcessLookupError, ChildProcessError):
            pass


class Calls:
    """System calls to be done one after another, until one fails."""

    def __init__(self):
        self._rows = []
        self._data = b""

    def add(self, number, *arguments):
        self._rows.append((number, arguments))

    def data(self, data):
        """An argument that is the address of `data`."""
        offset = len(self._data)
        self._data += data + bytes(-len(data) % 8)
        return Data(offset)

    def name(self, row):
        return "system call {}".format(self._rows[row][0]) if row < len(self._rows) else "no system call"

    def program(self, area):
        """The bytes of an area at that address."""
        table = b""
        for number, arguments in self._rows:
            values = [area + _DATA + one.offset if isinstance(one, Data) else one & _ALL for one in arguments]
            table += _ROW.pack(number, *values, *([0] * (7 - len(values))))
        table += _ROW.pack(_DONE, *([0] * 7))
        if _TABLE + len(table) > _DATA or _DATA + len(self._data) > _AREA:
            raise ValueError("too much to do at once")
        return (_PROGRAM.ljust(_TABLE, b"\x90") + table).ljust(_DATA, b"\0") + self._data


class Data:
    def __init__(self, offset):
        self.offset = offset
