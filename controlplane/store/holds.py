"""Holds: what a person stopped, and what goes on again."""

from __future__ import annotations

from controlplane.store.database import Database


class Holds(Database):
    """Verbs about holds."""
