"""The audit chain: pages of it, all of it as NDJSON, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from controlplane.api.paging import ThePage, read_cursor
from controlplane.api.parts import Exactly, Parts, TheParts
from controlplane.store.trail import Wanted
from controlplane.views import View
from observability.events import Instant

router = APIRouter(prefix="/api/v1/audit", tags=["people"])
NDJSON: Final = "application/x-ndjson"


class EntryView(View):
    """What a person or a program did. `hash` covers everything here and the hash of the entry before."""

    sequence: int
    at: Instant
    actor: str
    token_id: str | None
    via: str
    action: str
    subject: str
    why: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str
    previous: str
    hash: str


class AuditPage(View):
    """Entries, newest first."""

    audit: list[EntryView]
    next: str | None = None


class Verification(View):
    """Whether the chain is as it was written, up to its end when this was asked."""

    whole: bool
    entries: int
    #: of the last entry: who keeps it elsewhere can prove later that all before it is as it was
    head: str
    broken_at: int | None = None
    why: str = ""


@router.get("", response_model=AuditPage, responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}}})
def read_audit(
    parts: TheParts,
    page: ThePage,
    actor: Exactly = None,
    subject: Exactly = None,
    action: Exactly = None,
    accept: Annotated[str, Header(description=f"{NDJSON} exports all of it, oldest first")] = "",
) -> AuditPage | Response:
    """What people and programs did."""
    asked = Wanted(actor, subject, action)
    if NDJSON in accept:
        headers = {"Content-Disposition": 'attachment; filename="audit.ndjson"'}
        return StreamingResponse(_lines(parts, asked), media_type=NDJSON, headers=headers)
    after = read_cursor("audit", page.cursor, [int])
    rows = list(parts.store.audit_page(asked, int(after[0]) if after else None, page.limit + 1))
    shown, cursor = page.cut("audit", rows, ["sequence"])
    return AuditPage(audit=[EntryView.model_validate(row) for row in shown], next=cursor)


@router.get("/verification")
def verify_audit(parts: TheParts) -> Verification:
    """Walk the whole chain and say whether it is as it was written."""
    verdict = parts.store.verify_chain()
    told = Verification(whole=verdict.broken is None, entries=verdict.entries, head=verdict.head)
    if verdict.broken is None:
        return told
    return told.model_copy(update={"broken_at": verdict.broken.sequence, "why": verdict.broken.why})


def _lines(parts: Parts, asked: Wanted) -> Iterator[bytes]:
    """One entry a line, in ASCII: what somebody gave as a reason holds nothing that any reader takes for a new line."""
    for entry in parts.store.audit_entries(asked):
        yield json.dumps(EntryView.model_validate(entry).model_dump(mode="json")).encode() + b"\n"
