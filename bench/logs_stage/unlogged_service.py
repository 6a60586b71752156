"""The service as it is, but for the event log: predictions leave no line.

Requests still wait for the end of the turn of the event loop. To answer many of them together makes each cheaper, and
that would be no merit of the event log.
"""

from __future__ import annotations

import serving.spooling as spooling

for name in ("prediction_lines", "spool_predictions"):
    assert hasattr(spooling, name), f"serving.spooling has no {name}: the bench would compare serving with itself"
spooling.prediction_lines = lambda *_: []
spooling.spool_predictions = lambda *_: 0

from serving.service import DriftgateService  # noqa: E402 - after the event log was taken out

__all__ = ["DriftgateService"]
