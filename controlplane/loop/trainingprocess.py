"""The process of a training run, as the machine that it runs on sees it: its age, what it took, and its end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

#: locked by the run's process, for as long as that lives
LOCK_FILE: Final = "run.lock"
#: the number of the run's process
STARTED_FILE: Final = "started"
#: where `/proc/PID/stat` says when the process began, counted behind its name
_STARTTIME: Final = 19


def end(folder: Path, number: signal.Signals) -> None:
    """A signal to the run's process and all that it started; to nobody where it has just ended."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if _works_in(process, folder) and process.is_running():
                os.killpg(process.pid, number)


def lived(folder: Path) -> timedelta | None:
    """How long the run's process has lived, as the kernel counts since it booted; None where it cannot be seen."""
    try:
        if (process := _process(folder)) is None:
            return None
        ticks = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[_STARTTIME])
    except (psutil.Error, OSError, ValueError):
        return None
    since_boot = ticks / os.sysconf("SC_CLK_TCK")
    return timedelta(seconds=max(time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot, 0.0))


def processor_seconds(folder: Path) -> float | None:
    """Processor time that the run has taken until now, of all that it started too; None where it cannot be seen."""
    try:
        if (process := _process(folder)) is None:
            return None
        processes = (process, *process.children(recursive=True))
    except (psutil.Error, OSError, ValueError):
        return None
    seconds = 0.0
    for each in processes:
        with suppress(psutil.Error):  # it ended between the two looks: then it is counted where it was waited for
            times = each.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _process(folder: Path) -> psutil.Process | None:
    process = psutil.Process(int((folder / STARTED_FILE).read_bytes()))
    return process if _works_in(process, folder) else None


def _works_in(process: psutil.Process, folder: Path) -> bool:
    """Whether it is the process of this run, and no other that has its number by now: it was given the folder, leads
    a session of its own, and holds the lock's file.
    """
    if str(folder) not in process.cmdline() or os.getsid(process.pid) != process.pid:
        return False
    lock = (folder / LOCK_FILE).resolve()
    return any(Path(held.path) == lock for held in process.open_files())
