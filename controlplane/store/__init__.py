"""All SQL of the control plane, behind verbs of the domain; one module for each noun, one transaction for
each verb.
"""

from __future__ import annotations

from controlplane.store.alerts import Alerts
from controlplane.store.answers import Answers
from controlplane.store.counts import Counts
from controlplane.store.database import migrate_database, open_engine
from controlplane.store.decisions import Decisions
from controlplane.store.fleet import Fleet
from controlplane.store.holds import Holds
from controlplane.store.levels import Levels
from controlplane.store.models import Models, spec_of
from controlplane.store.people import People
from controlplane.store.reading import Reading
from controlplane.store.rollouts import Rollouts
from controlplane.store.runs import Runs
from controlplane.store.standings import Standings
from controlplane.store.versions import Versions
from controlplane.store.watched import Watched
from controlplane.store.windows import Windows

__all__ = ["Counts", "Store", "migrate_database", "open_engine", "spec_of"]


class Store(
    Answers,
    Models,
    Holds,
    Watched,
    Versions,
    Rollouts,
    Windows,
    Runs,
    Decisions,
    Levels,
    Alerts,
    Fleet,
    People,
    Standings,
    Reading,
):
    """The state of record. `Store(open_engine(url))`."""
