"""Tokens, sessions, refused attempts, the audit chain, and answers given before."""

from __future__ import annotations

from controlplane.store.database import Database


class People(Database):
    """Verbs about people."""
