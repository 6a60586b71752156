"""Tokens are handed out and taken back: a new one is shown on the answer's page, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from controlplane.access.callers import ROLES
from controlplane.access.tokens import mint
from controlplane.api.acting import act_of
from controlplane.errors import ControlPlaneError, NotFound
from controlplane.ui.confirming import FORM_BYTES, WHY_LENGTH, Answers, NoReason
from controlplane.ui.people_page import ENDS, ends_at, is_role, tokens_page
from controlplane.ui.web import SECURITY_HEADERS, Site, form_of, frame, html, problem
from controlplane.words import one_line

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,62}")


def hands_out(site: Site) -> Answers:
    """A new token, shown once."""

    async def answer(request: Request) -> Response:
        fields = await form_of(request, FORM_BYTES)
        return await run_in_threadpool(_hand_out, site, request, fields)

    return answer


def _hand_out(site: Site, request: Request, fields: Mapping[str, str]) -> Response:
    name, role, ends = fields.get("name", "").strip(), fields.get("role", ""), fields.get("ends", "")
    made: dict[str, Any] = {"asked": {"name": name, "role": role, "ends": ends, "reason": fields.get("reason", "")}}
    try:
        why = reason_in(fields)
        if not NAME.fullmatch(name):
            raise NoReason("a name begins with a letter or digit; letters, digits, spaces and . _ @ - may follow")
        if not is_role(role) or ends not in ENDS:
            raise NoReason("choose a role and an end")
        minted, until = mint(), ends_at(ends, site.wall.now())
        scope = next(scope for known, scope in ROLES.items() if known == role)
        site.parts.store.create_token(minted, name, role, scope, until, act_of(request, why))
        made = {"made": minted.secret, "named": name}
        status = 201
    except ControlPlaneError as error:
        made["error"], status = error.message, error.status
    return html("tokens.html", {**frame(site, request), **tokens_page(site.reader, site.wall.now()), **made}, status)


def reason_in(fields: Mapping[str, str]) -> str:
    """Why it is done. Raises NoReason."""
    why = one_line(fields.get("reason", ""))
    if not why or len(why) > WHY_LENGTH:
        raise NoReason if not why else NoReason(f"say it in at most {WHY_LENGTH} characters")
    return why


def asks_to_revoke(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    """The page that asks why. Raises NotFound."""
    token = site.reader.token_by_id(str(request.path_params["token_id"]))
    if token is None:
        raise NotFound("there is no such token")
    return "revoke.html", {"token": token, "error": "", "why": "", "still": True}


def takes_back(site: Site) -> Answers:
    """A token lets nobody in any more."""

    async def answer(request: Request) -> Response:
        fields = await form_of(request, FORM_BYTES)
        return await run_in_threadpool(_take_back, site, request, fields)

    return answer


def _take_back(site: Site, request: Request, fields: Mapping[str, str]) -> Response:
    try:
        name, context = asks_to_revoke(site, request)
    except NotFound as error:
        return problem(error)
    try:
        site.parts.store.revoke_token(context["token"].id, act_of(request, reason_in(fields)))
    except ControlPlaneError as error:
        said = {"error": error.message, "why": fields.get("reason", "")}
        return html(name, {**frame(site, request), **context, **said}, error.status)
    return RedirectResponse("/tokens?done=revoke", 303, dict(SECURITY_HEADERS))
