"""One tick: read where things stand, decide, act once. Nothing is remembered between two ticks but in the store.

Whatever was missed, by a crash at any of the named points or by a control plane that was away for a day, the
next tick finds in the state and takes up.
"""

from __future__ import annotations

import logging
from typing import Final

from controlplane.loop.alerting import look_at_fleet, reconcile_alerts, tick_begins, tick_ends
from controlplane.loop.deciding import reconcile_rules
from controlplane.loop.outbox import publish
from controlplane.loop.promoting import reconcile_rollouts
from controlplane.loop.running import reconcile_runs
from controlplane.loop.work import Work
from observability.spool.writer import SpoolError

LOG: Final = logging.getLogger(__name__)


class Reconciler(Work):
    """Ticks. Doing it again, or twice at once, does no harm."""

    def tick(self) -> None:
        """Bring everything one step closer to where it should be."""
        self.look_after_runs()
        self.decide()

    def look_after_runs(self) -> None:
        """Claim runs and take a step with each. A process does this apart from the rest: however long deciding takes,
        no lease runs out, and what another left is taken over.
        """
        reconcile_runs(self, self.clock.now())

    def decide(self) -> None:
        """Rollouts, rules and alerts. What is to be told is told first: an outbox that waited is no alert then."""
        now = self.clock.now()
        tick_begins(self, now)
        reconcile_rollouts(self, now)
        look_at_fleet(self)
        reconcile_rules(self, now)
        self._outbox()
        reconcile_alerts(self, now)
        tick_ends(self)

    def _outbox(self) -> None:
        try:
            publish(self.store, self.lines)
        except (SpoolError, OSError) as error:
            LOG.warning("the outbox waits: %s", error)
