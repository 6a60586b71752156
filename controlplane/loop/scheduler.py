"""Calls the tick, again and again, and nothing else: what is due is decided from the state, never from a
timer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import OperationalError

from controlplane.errors import Busy

LOG: Final = logging.getLogger(__name__)
#: so many intervals, but not less than so many seconds, may pass without a tick that ended well: one may take long
PATIENCE_INTERVALS: Final = 10
PATIENCE_SECONDS: Final = 60.0


class Ticker:
    """Ticks in a thread of its own, never two at a time; a long tick makes others late, not many."""

    def __init__(
        self, tick: Callable[[], None], every: timedelta, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._tick = tick
        self._monotonic = monotonic
        self._patience = max(PATIENCE_INTERVALS * every.total_seconds(), PATIENCE_SECONDS)
        #: when the last tick ended well; at first, when there was a ticker
        self._well_at = monotonic()
        self._failure: str | None = None
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            timezone="UTC",
        )
        self._scheduler.add_job(
            self.once,
            "interval",
            seconds=every.total_seconds(),
            id="tick",
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        self._well_at = self._monotonic()
        self._scheduler.start()

    def stop(self) -> None:
        """Returns when the tick that is running has ended."""
        self._scheduler.shutdown(wait=True)

    def trouble(self) -> str | None:
        """Why nothing is decided: ticks have failed or have not ended for too long. None where all is well.

        It names the kind of error only, because it is told to callers without a token; the log has the rest.
        """
        silent = self._monotonic() - self._well_at
        if silent <= self._patience:
            return None
        why = f"the last failed with {self._failure}" if self._failure else "none has ended"
        return f"no tick ended well for {silent:.0f} s: {why}"

    def once(self) -> None:
        """One tick; how it ended is remembered."""
        try:
            self._tick()
        except (OperationalError, Busy) as error:
            self._failure = type(error).__name__
            LOG.warning("the database did not take this tick, the next one tries again: %s", error.__cause__ or error)
        except Exception as error:
            self._failure = type(error).__name__
            raise  # to the scheduler, which logs it and goes on
        else:
            self._well_at, self._failure = self._monotonic(), None
