"""A filter of system calls: no socket, no other process, no look into one or hand on one. It holds until the end."""

from __future__ import annotations

import ctypes
import errno
from typing import Final, NamedTuple

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
#: a classic BPF program's instructions, and the places of seccomp_data that it looks at
_LOAD, _IF_EQUAL, _IF_BITS, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD: Final = 0x10000
_X32_CALLS: Final = 0x40000000
#: F_SETOWN and F_SETOWN_EX name a process that the kernel then sends signals to
_SET_OWNER: Final = (8, 15)
#: on every architecture: pidfd_send_signal, io_uring_setup, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick,
#: pidfd_open, pidfd_getfd, process_madvise, mount_setattr, process_mrelease
_NEW_CALLS: Final = (424, 425, 428, 429, 430, 431, 432, 433, 434, 438, 440, 442, 448)


class _Calls(NamedTuple):
    """The numbers of system calls on an architecture."""

    architecture: int
    #: a way to the network or to another program: socket, socketpair, execve, execveat
    outward: tuple[int, ...]
    #: a look into another process, or a hand on it: ptrace, process_vm_readv, process_vm_writev, kcmp, perf_event_open,
    #: bpf, rt_sigqueueinfo, rt_tgsigqueueinfo, setpriority, ioprio_set, sched_setparam, sched_setscheduler,
    #: sched_setattr, migrate_pages, move_pages
    on_others: tuple[int, ...]
    #: another view of the file system: mount, umount2, pivot_root, chroot, unshare, setns
    views: tuple[int, ...]
    #: fork, vfork, where there are such
    forks: tuple[int, ...]
    clone: int
    #: kill, tkill, tgkill: a process may end itself
    signals: tuple[int, int, int]
    #: prlimit64, sched_setaffinity: a process may ask and limit itself
    own_limits: tuple[int, int]
    fcntl: int
    #: answered as if there were none, so that the C library uses clone, whose flags can be looked at
    clone3: int = 435

    @property
    def forbidden(self) -> tuple[int, ...]:
        return (*self.outward, *self.on_others, *self.views, *self.forks, *_NEW_CALLS)


_MACHINES: Final = {
    "x86_64": _Calls(
        architecture=0xC000003E, outward=(41, 53, 59, 322),
        on_others=(101, 310, 311, 312, 298, 321, 129, 297, 141, 251, 142, 144, 314, 256, 279),
        views=(165, 166, 155, 161, 272, 308), forks=(57, 58), clone=56, signals=(62, 200, 234), own_limits=(302, 203),
        fcntl=72,
    ),
    "aarch64": _Calls(
        architecture=0xC00000B7, outward=(198, 199, 221, 281),
        on_others=(117, 270, 271, 272, 241, 280, 138, 240, 140, 30, 118, 119, 274, 238, 239),
        views=(40, 39, 41, 51, 97, 268), forks=(), clone=220, signals=(129, 130, 131), own_limits=(261, 122), fcntl=25,
    ),
}  # fmt: skip


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
    for number in calls.own_limits:
        lines += [(_IF_EQUAL, 0, 5, number), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
        lines += [(_IF_EQUAL, 1, 0, 0), (_IF_EQUAL, 0, 1, own_id), allow, refuse]
    lines += [(_IF_EQUAL, 0, 5, calls.fcntl), (_LOAD, 0, 0, _SECOND_ARGUMENT)]
    lines += [(_IF_EQUAL, 1, 0, _SET_OWNER[0]), (_IF_EQUAL, 0, 1, _SET_OWNER[1]), refuse, allow]
    return [*lines, allow]
