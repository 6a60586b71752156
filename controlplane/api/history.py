"""What has happened to a model, newest first."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.parts import Limit, TheModel, TheParts
from controlplane.status import DecisionView, FiringView, RunView, VersionView, WindowView, version_view

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}")


@router.get("/versions")
def versions(parts: TheParts, model_id: TheModel, limit: Limit = 100) -> dict[str, list[VersionView]]:
    parts.store.model(model_id)
    gates = parts.store.gate_verdicts(model_id)
    return {"versions": [version_view(each, gates) for each in parts.store.versions(model_id, limit)]}


@router.get("/windows")
def windows(
    parts: TheParts, model_id: TheModel, limit: Limit = 100, monitor: str | None = None
) -> dict[str, list[WindowView]]:
    parts.store.model(model_id)
    rows = parts.store.windows(model_id, limit, monitor)
    return {"windows": [WindowView.model_validate(each) for each in rows]}


@router.get("/decisions")
def decisions(parts: TheParts, model_id: TheModel, limit: Limit = 100) -> dict[str, list[DecisionView]]:
    parts.store.model(model_id)
    return {"decisions": [DecisionView.model_validate(each) for each in parts.store.decisions(model_id, limit)]}


@router.get("/firings")
def firings(parts: TheParts, model_id: TheModel, limit: Limit = 100) -> dict[str, list[FiringView]]:
    parts.store.model(model_id)
    return {"firings": [FiringView.model_validate(each) for each in parts.store.firings(model_id, limit)]}


@router.get("/runs")
def runs(parts: TheParts, model_id: TheModel, limit: Limit = 100) -> dict[str, list[RunView]]:
    parts.store.model(model_id)
    return {"runs": [RunView.model_validate(each) for each in parts.store.runs(model_id, limit)]}
