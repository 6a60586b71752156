"""The REST API. `create_app` builds it; the door before it lets nobody in without a token."""

from __future__ import annotations

from controlplane.api.app import create_app
from controlplane.api.parts import Parts

__all__ = ["Parts", "create_app"]
