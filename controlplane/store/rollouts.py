"""Rollouts, and what was measured of them."""

from __future__ import annotations

from controlplane.store.database import Database


class Rollouts(Database):
    """Verbs about rollouts."""
