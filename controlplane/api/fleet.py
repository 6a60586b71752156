"""For serving: what should be loaded, the bytes, and what is loaded."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from bundle.signature import ModelId
from controlplane.api.parts import TheParts
from controlplane.errors import NotFound
from controlplane.lifecycle import VersionState
from controlplane.store import Store

router = APIRouter(prefix="/api/v1")
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
    """What a serving instance says of itself."""

    loaded: list[Loaded] = Field(max_length=10_000)
    failed: list[FailedLoad] = Field(default_factory=list, max_length=10_000)


def desired_state(store: Store) -> dict[str, Any]:
    """What every serving instance should have loaded, and the tokens it may take."""
    models: dict[str, dict[str, Any]] = {}
    for version in store.deployed():
        slots = models.setdefault(version.model, {"model": version.model, "production": None, "staging": None})
        slot = "production" if version.state is VersionState.PRODUCTION else "staging"
        slots[slot] = {"version": version.number, "manifest": version.manifest}
    tokens = [
        {
            "sha256": token.sha256,
            "scopes": ["predict"],
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        }
        for token in store.tokens()
        if "predict" in token.scopes
    ]
    return {"models": list(models.values()), "tokens": tokens}


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
