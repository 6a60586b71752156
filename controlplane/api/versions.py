"""What people do with versions."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.parts import KnownModel, Reason, TheParts
from controlplane.views import VersionView
from controlplane.words import one_line

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}", tags=["versions"])


@router.post("/rollback")
def roll_back(parts: TheParts, model_id: KnownModel, asked: Reason) -> VersionView:
    """Put the version that was retired last back into production."""
    version = parts.store.roll_back(model_id, one_line(asked.reason), parts.clock.now())
    return VersionView.model_validate(version)
