"""Delivers what waits for one channel: claimed under a lease, sent, and marked; at least once, never lost.

Each channel has a deliverer and a thread of its own, so that one that is down delays no other.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from controlplane.errors import EgressRefused, NotDelivered
from controlplane.loop.work import CrashPoint
from controlplane.notifying.backoff import delay
from controlplane.notifying.channels import Channel
from controlplane.store import Store
from controlplane.tables import Notification

LOG: Final = logging.getLogger(__name__)
#: of what is claimed: a pass begins no request in its second half, and each request ends long before the lease does
LEASE: Final = timedelta(seconds=30)
KEEP_UP_SECONDS: Final = 60.0
TIDY_SECONDS: Final = 60.0


class Deliverer:
    """One channel's deliveries. `once` is called again and again."""

    def __init__(
        self,
        store: Store,
        channel: Channel,
        owner: str,
        at: Callable[[CrashPoint], None] = lambda _point: None,
        keep_up_seconds: float = KEEP_UP_SECONDS,
        lease: timedelta = LEASE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._channel = channel
        self._owner = owner
        #: a crash point: the channel took something, and nobody knows yet
        self._at = at
        self._keep_up_seconds = keep_up_seconds
        self._lease = lease
        self._monotonic = monotonic
        self._kept_up_at = self._tidied_at = -float("inf")

    def once(self) -> None:
        """One pass."""
        self.deliver()

    def deliver(self) -> int:
        """One pass. Returns how many notifications the channel took."""
        began = self._monotonic()
        claimed = self._store.claim_notifications(self._channel.name, self._owner, self._lease)
        waiting = deque(self._channel.groups(claimed) if claimed else ())
        taken = 0
        while waiting and self._monotonic() - began < self._lease.total_seconds() / 2:
            group = waiting.popleft()
            failure = self._send(group)
            if failure is None:
                taken += len(group)
            elif _is_down(failure):
                self._put_off([row for each in (group, *waiting) for row in each], failure)
                return taken
            elif len(group) > 1:
                waiting.extendleft([row] for row in reversed(group))  # one that is not taken holds up no other
            else:
                self._put_off(group, failure)
        self._keep_up()
        self._tidy()
        return taken

    def _send(self, group: Sequence[Notification]) -> NotDelivered | EgressRefused | None:
        try:
            self._channel.send(group)
        except (NotDelivered, EgressRefused) as failure:
            return failure
        self._at("delivered")
        self._store.mark_delivered(group, self._owner)
        return None

    def _put_off(self, rows: Sequence[Notification], failure: NotDelivered | EgressRefused) -> None:
        delays = {row.id: delay(row.attempts + 1, row.id) for row in rows}
        self._store.mark_failed(delays, self._owner, failure.message)
        LOG.warning("%s: %d notifications wait: %s", self._channel.name, len(rows), failure.message)

    def _keep_up(self) -> None:
        if self._monotonic() - self._kept_up_at < self._keep_up_seconds:
            return
        try:
            self._channel.keep_up()
        except (NotDelivered, EgressRefused) as failure:
            LOG.warning("%s does not hear that alerts go on: %s", self._channel.name, failure.message)
        else:
            self._kept_up_at = self._monotonic()

    def _tidy(self) -> None:
        if self._monotonic() - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = self._monotonic()
        if given_up := self._store.tidy_notifications():
            LOG.error("%d notifications were given up: no channel took them for days", given_up)


def _is_down(failure: NotDelivered | EgressRefused) -> bool:
    """Whether it has to do with the channel, so that what comes next would fare no better."""
    return isinstance(failure, NotDelivered) and bool(failure.details.get("down", True))
