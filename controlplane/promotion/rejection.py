"""Why a version was taken out of its way to production though no check of its gate failed."""

from __future__ import annotations

from enum import StrEnum


class Rejection(StrEnum):
    """Why the system rejected a version by itself, before its rollout; a rollout that ends has a StepReason."""

    REJECT_OVERTAKEN = "made to replace a version that is not in production any more"
    REJECT_UNAPPROVED = "nobody approved it in time"
    REJECT_EVIDENCE = "the rows that its gate judges are missing or corrupt"
    REJECT_UNREADABLE = "this release cannot read what was asked of it"
