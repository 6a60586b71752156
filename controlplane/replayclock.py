"""The control plane's clock: the machine's, or one that follows the data of a replay."""

from __future__ import annotations

from datetime import datetime

from controlplane.errors import ClockNotReplayed
from controlplane.settings import Settings
from controlplane.store import Store
from observability.clock import Clock, SystemClock, aware
from observability.windows import EPOCH


class ReplayClock:
    """The time that was last set, shared by all processes through the database. It never moves back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> datetime:
        return self._store.replay_time() or EPOCH


def clock_for(settings: Settings, store: Store) -> Clock:
    """The clock that the settings ask for."""
    return ReplayClock(store) if settings.clock == "replay" else SystemClock()


def set_clock(clock: Clock, store: Store, to: datetime) -> datetime:
    """Move a replay's clock forward and return where it stands. Raises ClockNotReplayed on the machine's
    clock.
    """
    if not isinstance(clock, ReplayClock):
        raise ClockNotReplayed
    return store.move_replay_time(aware(to))
