"""A filter of system calls: no socket, no other process, no look into one. It holds until the process ends."""

from __future__ import annotations

import ctypes
import errno
from typing import Final, NamedTuple

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
#: a classic BPF program's instructions, and the places of seccomp_data that it looks at
_LOAD, _IF_EQUAL, _IF_BITS, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD: Final = 0x10000
_X32_CALLS: Final = 0x40000000


class _Calls(NamedTuple):
    """The numbers of system calls on an architecture."""

    architecture: int
    #: socket, execve, ptrace, process_vm_readv, process_vm_writev, execveat, io_uring_setup, pidfd_open, fork, vfork
    forbidden: tuple[int, ...]
    clone: int
    #: kill, tkill, tgkill: a process may end itself
    signals: tuple[int, int, int]
    #: answered as if there were none, so that the C library uses clone, whose flags can be looked at
    clone3: int = 435


_MACHINES: Final = {
    "x86_64": _Calls(0xC000003E, (41, 59, 101, 310, 311, 322, 425, 434, 57, 58), 56, (62, 200, 234)),
    "aarch64": _Calls(0xC00000B7, (198, 221, 117, 270, 271, 281, 425, 434), 220, (129, 130, 131)),
}


class _Instruction(ctypes.Structure):
    """sock_filter."""

    _fields_ = [
        ("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint),
    ]  # fmt: skip


class _Program(ctypes.Structure):
    """sock_fprog."""

    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction))]


def forbid_system_calls(libc: ctypes.CDLL, machine: str, own_id: int) -> bool:
    """Whether the filter holds from now on; not on a machine whose numbers are not known here."""
    calls = _MACHINES.get(machine)
    if calls is None:
        return False
    instructions = [_Instruction(*each) for each in program(calls, own_id)]
    array = (_Instruction * len(instructions))(*instructions)
    held = _Program(len(instructions), array)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(held), 0, 0) == 0)


def program(calls: _Calls, own_id: int) -> list[tuple[int, int, int, int]]:
    """The filter's instructions: code, jump if true, jump if false, operand."""
    refuse = (_RETURN, 0, 0, _ERROR | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_IF_EQUAL, 1, 0, calls.architecture), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER), (_IF_AT_LEAST, 0, 1, _X32_CALLS), refuse,
        (_IF_EQUAL, 0, 1, calls.clone3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
    ]  # fmt: skip
    for number in calls.forbidden:
        lines += [(_IF_EQUAL, 0, 1, number), refuse]
    lines += [(_IF_EQUAL, 0, 4, calls.clone), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    lines += [(_IF_BITS, 0, 1, _CLONE_THREAD), allow, refuse]
    for number in calls.signals:
        lines += [(_IF_EQUAL, 0, 4, number), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_IF_EQUAL, 0, 1, own_id), allow, refuse]
    return [*lines, allow]
