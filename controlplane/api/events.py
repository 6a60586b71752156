"""Events of models that are served elsewhere."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import ValidationError

from bundle.blobs import BlobCorrupt
from bundle.manifest import Manifest
from controlplane.api.parts import KnownModel, Parts, TheParts
from controlplane.errors import BrokenEvidence, Conflict, EventsRefused, NotTaken
from controlplane.posting import PostedEvents, lines_of
from controlplane.store import spec_of
from controlplane.views import EventsTaken
from observability.clock import SystemClock
from observability.spool.writer import SpoolFull

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}", tags=["versions"])
#: that one post may speak of
MOST_VERSIONS: Final = 20


@router.post("/events")
def post_events(parts: TheParts, model_id: KnownModel, posted: PostedEvents) -> EventsTaken:
    """Predictions and labels of a model that is served elsewhere, on the disk when this is answered.

    All of them are taken or none. Posting the same ids again changes nothing, so a post without an answer is repeated.
    """
    if not spec_of(parts.store.model(model_id)).watched:
        raise Conflict(f"{model_id} is served here: serving tells of its predictions and labels", model=model_id)
    production = parts.store.production(model_id)
    if production is None:
        raise Conflict(f"{model_id} has no version yet: declare its reference first", model=model_id)
    named = {each.version for each in posted.predictions if each.version is not None} | {production.number}
    if len(named) > MOST_VERSIONS:
        raise EventsRefused(f"predictions: of more than {MOST_VERSIONS} versions", field="predictions")
    versions = {number: _manifest(parts, model_id, number) for number in named}
    _put(parts, lines_of(model_id, posted, versions, production.number, SystemClock().now()))
    return EventsTaken(predictions=len(posted.predictions), labels=len(posted.labels))


def _manifest(parts: Parts, model_id: str, number: int) -> Manifest:
    digest = parts.store.version(model_id, number).manifest
    try:
        return Manifest.read(parts.blobs, digest)
    except (OSError, BlobCorrupt, ValidationError) as error:
        raise BrokenEvidence(f"the manifest of version {number} cannot be read: {error}") from error


def _put(parts: Parts, lines: list[bytes]) -> None:
    if parts.lines is None:
        raise NotTaken("this control plane has no spool: it takes no events")
    try:
        if lines:
            parts.lines.put(lines)
    except (SpoolFull, OSError) as error:
        raise NotTaken from error
