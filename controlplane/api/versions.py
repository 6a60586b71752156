"""What people do with versions."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import Field

from controlplane.api.acting import act_of
from controlplane.api.history import VersionNumber, version_views
from controlplane.api.parts import KnownModel, Parts, Reason, TheParts
from controlplane.declaring import DeclaredRows, declare_reference
from controlplane.errors import ReferencesBusy
from controlplane.places import Places
from controlplane.views import VersionView
from controlplane.words import one_line

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}", tags=["versions"])
#: references of one process at a time: statistics of up to 100,000 rows keep a processor busy
AT_ONCE: Final = 2
_DECLARING: Final = Places(AT_ONCE, ReferencesBusy)


class Declared(Reason, DeclaredRows):
    """The rows that a model which is served elsewhere is compared with, column by column, and why these."""


@router.post("/versions")
def declare(request: Request, parts: TheParts, model_id: KnownModel, asked: Declared) -> VersionView:
    """A version of a model that is served elsewhere, in production from now on: what is watched is compared with these
    rows. The same rows again are the same version.
    """
    act = act_of(request, one_line(asked.reason))
    with _DECLARING.one():
        version = declare_reference(parts.store, parts.blobs, model_id, asked, act.why, parts.clock.now(), act)
    return _shown(parts, model_id, version.number)


@router.post("/versions/{number}/approve")
def approve(
    request: Request, parts: TheParts, model_id: KnownModel, number: VersionNumber, asked: Reason
) -> VersionView:
    """Let a version that passed its gate and waits for a person go on."""
    act = act_of(request, one_line(asked.reason))
    parts.store.approve(model_id, number, act.why, parts.clock.now(), act)
    return _shown(parts, model_id, number)


@router.post("/versions/{number}/reject")
def reject(
    request: Request, parts: TheParts, model_id: KnownModel, number: VersionNumber, asked: Reason
) -> VersionView:
    """Take a version out of the way to production for good."""
    act = act_of(request, one_line(asked.reason))
    parts.store.reject(model_id, number, act.why, parts.clock.now(), act)
    return _shown(parts, model_id, number)


@router.post("/versions/{number}/promote")
def promote(
    request: Request, parts: TheParts, model_id: KnownModel, number: VersionNumber, asked: Reason
) -> VersionView:
    """Put a version that is loaded into production at once, whatever steps of its rollout remain."""
    act = act_of(request, one_line(asked.reason))
    parts.store.promote(model_id, number, act.why, parts.clock.now(), act, parts.instance_silence)
    return _shown(parts, model_id, number)


class RollBack(Reason):
    """Why, and away from which version: where another is in production by now, nothing is done."""

    version: int | None = Field(default=None, ge=1, le=2**31 - 1)


@router.post("/rollback")
def roll_back(request: Request, parts: TheParts, model_id: KnownModel, asked: RollBack) -> VersionView:
    """Put the version that was retired last back into production. Name the version that is to go: asked for twice, it
    is done once.
    """
    act = act_of(request, one_line(asked.reason))
    version = parts.store.roll_back(model_id, act.why, parts.clock.now(), act, asked.version)
    return _shown(parts, model_id, version.number)


def _shown(parts: Parts, model_id: str, number: int) -> VersionView:
    return version_views(parts.store, [parts.store.one("versions", model_id, number=number)])[0]
