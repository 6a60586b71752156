"""Evidently's own report of a window, to be kept as a file."""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter, Response

from controlplane.api.history import WindowId
from controlplane.api.parts import KnownModel, TheParts
from controlplane.errors import NotReportable
from controlplane.loop.reporting import window_to_report

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}", tags=["history"])
#: HTML that Evidently makes of text from data is no page of ours: a browser keeps it as a file, and where it shows it
#: nevertheless it runs nothing and has no part in our origin
HEADERS: Final = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
_HTML: Final = {"description": "an HTML file", "content": {"text/html": {"schema": {"type": "string"}}}}


@router.get("/windows/{window_id}/report", response_class=Response, responses={200: _HTML})
def report(parts: TheParts, model_id: KnownModel, window_id: WindowId) -> Response:
    """Evidently's report of a window beside its reference, with the monitor's verdicts in it, as an HTML file.

    It takes some ten seconds, and is made of the rows that the log store still has. It shows how the values of columns
    are spread, and names frequent categories.
    """
    if parts.reports is None:
        raise NotReportable("this control plane writes no reports")
    row = window_to_report(parts.store, model_id, window_id)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", f"{model_id}-{row.id}.html")
    kept = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(parts.reports(model_id, row.id), media_type="text/html", headers=HEADERS | kept)
