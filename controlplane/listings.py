"""Pages of lists: `next` is the cursor of the page behind, None where there is none."""

from __future__ import annotations

from controlplane.views import (
    AlertView,
    DecisionView,
    FiringView,
    HoldView,
    NotificationView,
    RolloutView,
    RunView,
    Status,
    VersionView,
    View,
    WindowView,
)


class ModelsPage(View):
    """Models by name."""

    models: list[Status]
    next: str | None = None


class VersionsPage(View):
    """Versions, newest first."""

    versions: list[VersionView]
    next: str | None = None


class WindowsPage(View):
    """Windows, newest first."""

    windows: list[WindowView]
    next: str | None = None


class DecisionsPage(View):
    """Decisions, newest first."""

    decisions: list[DecisionView]
    next: str | None = None


class FiringsPage(View):
    """Firings, newest first."""

    firings: list[FiringView]
    next: str | None = None


class RunsPage(View):
    """Runs, newest first."""

    runs: list[RunView]
    next: str | None = None


class RolloutsPage(View):
    """Rollouts, newest first."""

    rollouts: list[RolloutView]
    next: str | None = None


class HoldsPage(View):
    """Holds by what they stop."""

    holds: list[HoldView]
    next: str | None = None


class AlertsPage(View):
    """Alerts, newest first."""

    alerts: list[AlertView]
    next: str | None = None


class NotificationsPage(View):
    """Notifications, newest first."""

    notifications: list[NotificationView]
    next: str | None = None
