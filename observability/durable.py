"""Files that survive a crash: replaced whole, and on the disk before anyone relies on them."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Put the folder's entries on the disk: a new file's name is durable only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, data: bytes) -> None:
    """After this the file holds the data, power cut or not; until then it holds what it held."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_fully(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(path)
    sync_folder(path.parent)


def write_fully(descriptor: int, data: bytes) -> None:
    """Write all of the data. Raises OSError where the disk takes only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def lock_file(path: Path, patience_seconds: float = 0.0) -> int | None:
    """An exclusive lock, held until the descriptor is closed or the process dies; None where it is taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                os.close(descriptor)
                return None
            time.sleep(0.01)
        else:
            return descriptor


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock. Looking shares it for an instant: be patient when locking."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
