"""Alerts of all models: what somebody has to look at first, and what no channel has taken."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from controlplane.lifecycle import AlertState
from controlplane.ui.alert_queries import OPEN, Undelivered, WantedAlerts
from controlplane.ui.fleet_queries import SEVERITIES
from controlplane.ui.queries import Reader

PAGE: Final = 50
STATES: Final = (OPEN, *(state.value for state in AlertState), "all")
#: so long a channel may take without a word about it
PATIENCE: Final = timedelta(minutes=1)


def alerts_page(reader: Reader, asked: Mapping[str, str], wall: datetime, number: int) -> dict[str, Any]:
    """Everything the page shows."""
    wanted = wanted_of(asked)
    rows = list(reader.alert_page(wanted, (number - 1) * PAGE, PAGE + 1))
    return {
        "alerts": rows[:PAGE],
        "wanted": wanted,
        "states": STATES,
        "severities": SEVERITIES,
        "number": number,
        "more": len(rows) > PAGE,
        "undelivered": [each for each in reader.undelivered() if is_late(each, wall)],
        "wall": wall,
    }


def wanted_of(asked: Mapping[str, str]) -> WantedAlerts:
    """What the address asks for; a filter that there is none of is not one."""
    state, severity = asked.get("state", OPEN), asked.get("severity", "")
    return WantedAlerts(
        state if state in STATES else OPEN, severity if severity in SEVERITIES else "", asked.get("q", "").strip()[:100]
    )


def is_late(channel: Undelivered, wall: datetime) -> bool:
    """Whether people should know: it was refused, given up, or takes long."""
    return bool(channel.given_up or channel.last_error) or wall - channel.oldest > PATIENCE
