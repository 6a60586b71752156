"""A typed client of the control plane's API, for the command line, replays and programs.

with ControlClient("http://127.0.0.1:8000", token) as control:
    for decision in control.decisions("default/tweets", outcome="fire", limit=10):
        print(decision.decided_at, decision.rule, decision.detail)
"""

from __future__ import annotations

from controlplane.client.changing import Changes
from controlplane.client.connection import Seen
from controlplane.client.reading import Reads
from controlplane.views import (
    AlertView,
    Applied,
    ClockView,
    DecisionView,
    FiringView,
    HoldView,
    HookSecret,
    NotificationView,
    RolloutView,
    RunView,
    Status,
    VersionView,
    WindowView,
)

__all__ = [
    "AlertView", "Applied", "ClockView", "ControlClient", "DecisionView", "FiringView", "HoldView", "HookSecret",
    "NotificationView", "RolloutView", "RunView", "Seen", "Status", "VersionView", "WindowView",
]  # fmt: skip


class ControlClient(Reads, Changes):
    """Calls one control plane with one token."""
