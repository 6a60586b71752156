"""The loop of a replay: send rows, let the clock follow them, and let the system keep up.

A replay compresses months into minutes, but a training run does not get faster. So that a run does not seem to last
weeks of event time, the stream flows in batches while nothing is being trained and slows to a trickle while something
is. Requests never stop, so the swap of a version happens under load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controlplane.client import ControlClient
from controlplane.errors import ControlPlaneError
from controlplane.replay.narrator import Narrator
from controlplane.replay.rows import ReplayRow, stretch
from controlplane.replay.traffic import Traffic

LOOK_SECONDS = 0.5


class ReplayStuck(ControlPlaneError):
    """The system did not keep up: windows or decisions did not follow the clock."""


@dataclass(frozen=True)
class Pace:
    """How fast rows are sent."""

    #: rows in one request
    rows_per_request: int
    #: rows between two looks while nothing is being trained, and the event time that they may span
    batch: int
    longest: timedelta
    #: rows a second while a run is active
    trickle: float
    #: how long windows and decisions may take to follow the clock
    settle_seconds: float = 60.0


class Replay:
    """Drives one model's rows through a running system."""

    def __init__(
        self,
        model: str,
        control: ControlClient,
        traffic: Traffic,
        narrator: Narrator,
        pace: Pace,
        horizon: timedelta,
    ) -> None:
        self._model = model
        self._horizon = horizon
        self._control = control
        self._traffic = traffic
        self._narrator = narrator
        self._pace = pace

    async def run(self, rows: Sequence[ReplayRow]) -> None:
        """Send all rows, then the labels that are still due, and wait until nothing is being trained any more."""
        position = 0
        while position < len(rows):
            busy = is_busy(await self._look())
            size = max(1, round(self._pace.trickle * LOOK_SECONDS)) if busy else self._pace.batch
            batch = stretch(rows[position : position + size], size, self._pace.longest)
            position += len(batch)
            began = time.monotonic()
            await self._send(batch)
            if busy:
                await asyncio.sleep(max(0.0, LOOK_SECONDS - (time.monotonic() - began)))
            else:
                await self._settle(batch[-1].event_time)
        await self._finish(rows[-1].event_time + self._horizon)

    async def _send(self, batch: Sequence[ReplayRow]) -> None:
        for part in spans(batch, self._horizon):
            # Labels first: they are about earlier rows, and a window's labels may be due with this part.
            await self._traffic.send_labels(part[-1].event_time)
            await self._traffic.send(part, self._pace.rows_per_request)
        await asyncio.to_thread(self._control.set_clock, batch[-1].event_time)

    async def _look(self) -> dict[str, Any]:
        status = (await asyncio.to_thread(self._control.status, self._model)).model_dump(mode="json")
        await asyncio.to_thread(self._narrator.look, status, self._traffic)
        return status

    async def _settle(self, until: datetime) -> None:
        """Wait until the monitor has seen every event up to an instant and the rules have been asked."""
        deadline = time.monotonic() + self._pace.settle_seconds
        while True:
            status = await self._look()
            if is_busy(status) or _kept_up(status, until):
                return
            if time.monotonic() > deadline:
                raise ReplayStuck(
                    f"windows reach {status['monitored_until']} and decisions {status['decided_until']}, the stream "
                    f"{until.isoformat()}: see the service logs in the data folder. {len(self._traffic.answers)} rows "
                    f"were answered; failed requests: {dict(self._traffic.failures) or 'none'}"
                )
            await asyncio.sleep(0.1)

    async def _finish(self, end: datetime) -> None:
        await self._traffic.send_labels(end)
        await asyncio.to_thread(self._control.set_clock, end)
        while True:
            status = await self._look()
            if not is_busy(status) and _reached(status["decided_until"], end):
                return
            await asyncio.sleep(LOOK_SECONDS)


def spans(rows: Sequence[ReplayRow], horizon: timedelta) -> Iterator[Sequence[ReplayRow]]:
    """Consecutive parts, none longer than the label horizon: no label is due in the part that its row is in."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end].event_time - rows[start].event_time >= horizon:
            yield rows[start:end]
            start = end


def is_busy(status: dict[str, Any]) -> bool:
    """Whether a run is active, or a version is on its way into service."""
    return status["active_run"] is not None or status["rollout"] is not None


def _kept_up(status: dict[str, Any], until: datetime) -> bool:
    return _reached(status["monitored_until"], until) and _reached(status["decided_until"], until)


def _reached(instant: str | None, until: datetime) -> bool:
    return instant is not None and datetime.fromisoformat(instant) >= until
