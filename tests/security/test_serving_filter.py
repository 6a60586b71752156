"""The filter of system calls says the same on every architecture that it knows, also where no test runs."""

from __future__ import annotations

import errno
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.seccomp import _MACHINES, program

OWN: Final = 4_711
ALLOWED, KILLED, REFUSED, NONE_SUCH = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
MACHINES = pytest.mark.parametrize("machine", sorted(_MACHINES))
#: by name: what a call is to be told, whatever its number is
OUTWARD: Final = {
    "x86_64": {
        "socket": 41, "socketpair": 53, "execve": 59, "ptrace": 101, "rt_sigqueueinfo": 129, "setpriority": 141,
        "sched_setscheduler": 144, "mount": 165, "ioprio_set": 251, "unshare": 272, "rt_tgsigqueueinfo": 297,
        "setns": 308, "process_vm_writev": 311, "pidfd_send_signal": 424, "pidfd_open": 434, "mount_setattr": 442,
    },
    "aarch64": {
        "socket": 198, "socketpair": 199, "execve": 221, "ptrace": 117, "rt_sigqueueinfo": 138, "setpriority": 140,
        "sched_setscheduler": 119, "mount": 40, "ioprio_set": 30, "unshare": 97, "rt_tgsigqueueinfo": 240,
        "setns": 268, "process_vm_writev": 271, "pidfd_send_signal": 424, "pidfd_open": 434, "mount_setattr": 442,
    },
}  # fmt: skip
#: read, write, mmap, futex, openat, exit_group, clock_gettime, getrandom
NEEDED: Final = {"x86_64": (0, 1, 9, 202, 257, 231, 228, 318), "aarch64": (63, 64, 222, 98, 56, 94, 113, 278)}


def said(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers a call; this is all of classic BPF that it uses."""
    calls = _MACHINES[machine]
    fields = {0: number, 4: calls.architecture if architecture is None else architecture}
    fields |= {16 + 8 * place: value & 0xFFFFFFFF for place, value in enumerate((*arguments, 0, 0))}
    lines, at, held = program(calls, OWN), 0, 0
    while True:
        code, jump_if, jump_else, operand = lines[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            held = fields[operand]
        else:
            true = {0x15: held == operand, 0x45: bool(held & operand), 0x35: held >= operand}[code]
            at += jump_if if true else jump_else


@MACHINES
def test_a_way_out_or_a_hand_on_another_is_refused_and_what_every_program_needs_is_not(machine: str) -> None:
    assert {name: said(machine, number) for name, number in OUTWARD[machine].items()} == dict.fromkeys(
        OUTWARD[machine], REFUSED
    )
    assert {said(machine, number) for number in NEEDED[machine]} == {ALLOWED}


@MACHINES
@given(other=st.integers(-(2**31), 2**31 - 1).filter(lambda number: number not in (0, OWN)))
def test_a_process_asks_and_limits_and_ends_itself_and_no_other(machine: str, other: int) -> None:
    calls = _MACHINES[machine]
    for number in calls.own_limits:
        assert [said(machine, number, whom) for whom in (0, OWN, other)] == [ALLOWED, ALLOWED, REFUSED]
    for number in calls.signals:
        assert [said(machine, number, whom) for whom in (OWN, 0, -1, other)] == [ALLOWED, REFUSED, REFUSED, REFUSED]


@MACHINES
def test_a_descriptor_sends_its_signals_to_nobody_else_and_is_used_as_before(machine: str) -> None:
    fcntl = _MACHINES[machine].fcntl
    asked = [said(machine, fcntl, 3, command) for command in range(20)]
    assert [command for command, answer in enumerate(asked) if answer == REFUSED] == [8, 15]
    assert set(asked) == {ALLOWED, REFUSED}


@MACHINES
def test_a_thread_is_begun_and_a_process_is_not(machine: str) -> None:
    calls = _MACHINES[machine]
    assert said(machine, calls.clone, 0x3D0F00) == ALLOWED
    assert said(machine, calls.clone, 0x1200011) == REFUSED
    assert said(machine, calls.clone3) == NONE_SUCH
    assert {said(machine, number) for number in calls.forks} <= {REFUSED}


@MACHINES
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    assert said(machine, 0, architecture=0x40000003) == KILLED
    assert said(machine, 0x40000000 | 41) == REFUSED
