"""Calls the tick, again and again, and nothing else: what is due is decided from the state, never from a
timer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import OperationalError

LOG: Final = logging.getLogger(__name__)


class Ticker:
    """Ticks in a thread of its own, never two at a time; a long tick makes others late, not many."""

    def __init__(self, tick: Callable[[], None], every: timedelta) -> None:
        self._tick = tick
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            timezone="UTC",
        )
        self._scheduler.add_job(
            self._once,
            "interval",
            seconds=every.total_seconds(),
            id="tick",
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Returns when the tick that is running has ended."""
        self._scheduler.shutdown(wait=True)

    def _once(self) -> None:
        try:
            self._tick()
        except OperationalError as error:
            LOG.warning("the database did not take this tick, the next one tries again: %s", error.orig)
