"""The dashboards, in the order in which they link to each other."""

from __future__ import annotations

from typing import Final

from observability.kibana.dashboards.logs import LOGS, PIPELINE
from observability.kibana.dashboards.loop import DECISIONS
from observability.kibana.dashboards.models import DRIFT, ERRORS, FLEET, MODEL
from observability.kibana.panels import Dashboard

DASHBOARDS: Final[tuple[Dashboard, ...]] = (FLEET, MODEL, DRIFT, ERRORS, DECISIONS, PIPELINE, LOGS)
