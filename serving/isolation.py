"""Shuts a process in: no network, no file but those that a version needs, nothing written, no other process.

It uses what the kernel gives to everybody, without root and without a library: namespaces, Landlock (landlock(7))
and a seccomp filter (seccomp(2)). Each is tried, none is relied on, and which of them hold is told: containers and
old kernels forbid some. Call it while the process has one thread and has not yet loaded what it is to be guarded from.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from serving.seccomp import forbid_system_calls

#: what is guarded: by which means it is
Isolation = dict[str, list[str]]
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_PR_SET_NO_NEW_PRIVS: Final = 38
#: system calls that have the same number on every architecture
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
#: rights that Landlock can take away, by the version of its interface that brought them
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
_CONNECT_AND_BIND, _SIGNALS_AND_ABSTRACT_SOCKETS = 3, 3
#: what onnxruntime, numpy and the loader of libraries read of the system
_SYSTEM: Final = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/self", "/sys/devices", "/sys/bus/pci",
)  # fmt: skip


def isolate(visible: Iterable[Path]) -> Isolation:
    """Shut this process in for good; of the file system, only these folders and the system's libraries are read."""
    if not sys.platform.startswith("linux"):
        return {"network": [], "files": [], "processes": []}
    libc = ctypes.CDLL(None, use_errno=True)
    held: Isolation = {"network": [], "files": [], "processes": []}
    _be_first_to_die()
    if _own_namespaces(libc):
        held["network"].append("namespace")
        if _read_only_mounts(libc):
            held["files"].append("read-only mounts")
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    interface = _landlock(libc, [*visible, *map(Path, _SYSTEM)])
    if interface >= 1:
        held["files"].append("landlock")
    if interface >= 4:
        held["network"].append("landlock")
    if interface >= 6:
        held["processes"].append("landlock")
    if forbid_system_calls(libc, platform.machine(), os.getpid()):
        held["network"].append("seccomp")
        held["processes"].append("seccomp")
    return held


def _be_first_to_die() -> None:
    """Where memory runs out, the kernel ends this process before the one that answers."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _own_namespaces(libc: ctypes.CDLL) -> bool:
    return bool(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC) == 0)


def _read_only_mounts(libc: ctypes.CDLL) -> bool:
    if libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        return False
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    at = (_AT_FDCWD, b"/", _AT_RECURSIVE)
    return bool(libc.syscall(_MOUNT_SETATTR, *at, ctypes.byref(attributes), ctypes.c_size_t(size)) == 0)


class _Beneath(ctypes.Structure):
    """landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def _landlock(libc: ctypes.CDLL, readable: Iterable[Path]) -> int:
    """The version of Landlock's interface that now holds; 0 where none does."""
    interface = int(libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    if interface < 1:
        return 0
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= interface)
    wanted = [(1 << rights) - 1, _CONNECT_AND_BIND, _SIGNALS_AND_ABSTRACT_SOCKETS]
    known = 1 if interface < 4 else 2 if interface < 6 else 3
    rules = (ctypes.c_uint64 * known)(*wanted[:known])
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(rules), ctypes.c_size_t(known * 8), ctypes.c_uint32(0))
    if ruleset < 0:
        return 0
    for path in readable:
        _allow(libc, ruleset, path)
    restricted = libc.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0)) == 0
    os.close(ruleset)
    return interface if restricted else 0


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
    rule = _Beneath(rights, descriptor)
    libc.syscall(_LANDLOCK_ADD, ruleset, ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
    os.close(descriptor)


class Attempts(list[str]):
    """What the code of this process tried although it may not; filled as it happens, whatever the code catches."""


#: what a feature function has no business with, and how to say it
_FORBIDDEN: Final = {
    "os.fork": "start a process", "os.forkpty": "start a process", "os.exec": "start a process",
    "os.posix_spawn": "start a process", "os.spawn": "start a process", "os.system": "start a process",
    "subprocess.Popen": "start a process", "os.kill": "send a signal", "os.killpg": "send a signal",
    "socket.__new__": "open a socket", "socket.connect": "open a connection", "socket.bind": "open a port",
    "os.remove": "delete a file", "os.rename": "rename a file", "os.symlink": "make a link", "os.link": "make a link",
    "os.mkdir": "make a folder", "os.truncate": "change a file", "os.chmod": "change a file",
    "os.chown": "change a file", "os.rmdir": "delete a folder",
    "resource.prlimit": "change a process's limits", "resource.setrlimit": "change its limits",
}  # fmt: skip


def watch_attempts(visible: Iterable[Path]) -> Attempts:
    """From now on Python code that reaches out is stopped and remembered, where the kernel lets it through too.

    It is no boundary for machine code: that is what `isolate` is for. It says what was tried, and it sees what the
    code itself passes over in silence. Reference: PEP 578.
    """
    attempts = Attempts()
    readable = tuple(os.path.realpath(path) for path in (*visible, *map(Path, _SYSTEM)))
    audit = _auditor(attempts, readable)
    sys.addaudithook(audit)
    return attempts


def _auditor(attempts: Attempts, readable: tuple[str, ...]) -> Callable[[str, tuple[object, ...]], None]:
    def stop(what: str) -> None:
        attempts.append(what)
        raise PermissionError(f"a version's code may not {what}")

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in _FORBIDDEN:
            stop(_FORBIDDEN[event])
        elif event == "open":
            path, flags = arguments[0], arguments[2]
            if isinstance(path, str | bytes) and not _may_open(os.fsdecode(path), flags, readable):
                stop(f"open {os.fsdecode(path)[:200]!r}")

    return audit


def _may_open(path: str, flags: object, readable: tuple[str, ...]) -> bool:
    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    real = os.path.realpath(path)
    inside = any(real == root or real.startswith(root + os.sep) for root in readable)
    return not writes and (inside or Path(real).is_dir())  # nothing can be read from a folder that is opened
