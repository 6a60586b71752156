"""For serving: what should be loaded, the bytes, and what is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, FailFast, Field

from bundle.signature import ModelId
from controlplane.api.parts import TheParts
from controlplane.errors import NotFound
from controlplane.lifecycle import RolloutState, VersionState
from controlplane.store import Store
from controlplane.tables import Rollout, Version

router = APIRouter(prefix="/api/v1", tags=["serving"])
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Loaded(_Said):
    """A version that this instance answers with, or could."""

    model: ModelId
    version: int
    manifest: Digest


class FailedLoad(_Said):
    """A version that this instance could not load."""

    model: ModelId
    version: int
    reason: str = Field(max_length=2000)


class InstanceReport(_Said):
    """What a serving instance says of itself. Of each list the first entry that is wrong is told, not all of them."""

    loaded: Annotated[list[Loaded], FailFast(), Field(max_length=10_000)]
    failed: Annotated[list[FailedLoad], FailFast(), Field(max_length=10_000)] = []


def wanted_versions(versions: Iterable[Version], rollouts: Iterable[Rollout]) -> list[dict[str, Any]]:
    """For each model that has one: the version in production, the one that is loading, and the rival with its share.

    Both lists may be of different instants: a rollout that does not fit the versions names nothing.
    """
    models: dict[str, dict[int, Version]] = {}
    for version in versions:
        models.setdefault(version.model, {})[version.number] = version
    under_way = {rollout.model: rollout for rollout in rollouts}
    return [_slots(model, deployed, under_way.get(model)) for model, deployed in models.items()]


def _slots(model: str, deployed: Mapping[int, Version], rollout: Rollout | None) -> dict[str, Any]:
    by_state = {version.state: version for version in deployed.values()}
    production, staging = by_state.get(VersionState.PRODUCTION), by_state.get(VersionState.STAGING)
    rival = None
    if rollout is not None and production is not None:
        rival = _rival(deployed, production, rollout)
    return {
        "model": model,
        "production": _ref(production) if production else None,
        "staging": _ref(staging) if staging else None,
        "rival": rival,
    }


def _rival(deployed: Mapping[int, Version], production: Version, rollout: Rollout) -> dict[str, Any] | None:
    watching = rollout.state is RolloutState.WATCHING
    if not watching and rollout.state not in (RolloutState.SHADOW, RolloutState.CANARY):
        return None
    version = deployed.get(rollout.champion or 0) if watching else deployed.get(rollout.version)
    if version is None or version.number == production.number:
        return None
    share = rollout.share if rollout.state is RolloutState.CANARY else 0.0
    return {**_ref(version), "share": share, "promoted": watching}


def _ref(version: Version) -> dict[str, Any]:
    return {"version": version.number, "manifest": version.manifest}


def desired_state(store: Store) -> dict[str, Any]:
    """What every serving instance should have loaded, and the tokens it may take."""
    models = wanted_versions(store.deployed(), store.rollouts_under_way())
    tokens = [
        {
            "sha256": token.sha256,
            "scopes": ["predict"],
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        }
        for token in store.tokens()
        if "predict" in token.scopes
    ]
    return {"models": models, "tokens": tokens}


@router.get("/serving/desired")
def desired(parts: TheParts, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    state = desired_state(parts.store)
    etag = f'"{hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return JSONResponse(state, headers=headers)


@router.get("/blobs/{sha256}")
def blob(parts: TheParts, sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> FileResponse:
    path = parts.blobs.path(sha256)
    if not path.is_file():
        raise NotFound(f"there is no blob {sha256}", sha256=sha256)
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, immutable, max-age=31536000"}
    return FileResponse(path, media_type="application/octet-stream", headers=headers)


@router.put("/serving/instances/{instance_id}", status_code=204)
def report_instance(
    parts: TheParts,
    instance_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")],
    report: InstanceReport,
) -> None:
    loaded = [each.model_dump() for each in report.loaded]
    failed = [each.model_dump() for each in report.failed]
    parts.store.report_instance(instance_id, loaded, failed)
