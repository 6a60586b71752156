"""Alerts and their notifications."""

from __future__ import annotations

from controlplane.store.database import Database


class Alerts(Database):
    """Verbs about alerts."""
