"""The step between a button and what it does: a form that asks why, without a script, then back to where one was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from controlplane.access.callers import demand
from controlplane.api.acting import act_of, caller_of
from controlplane.errors import Busy, ControlPlaneError, Forbidden, NotFound, Refused
from controlplane.lifecycle import IllegalTransition
from controlplane.ui.actions import OF_ALERTS, OF_MODELS, SPAN_NAMES, Action, Asked
from controlplane.ui.paging import address
from controlplane.ui.web import SECURITY_HEADERS, Site, form_of, frame, html, local_path, problem
from controlplane.words import one_line
from observability.ids import new_id

WHY_LENGTH: Final = 500
#: a reason of so many characters, encoded
FORM_BYTES: Final = 16 << 10

Answers = Callable[[Request], Awaitable[Response]]


class NoReason(Refused):
    """Say why: it is kept in the audit, with your name."""

    code = "no_reason"
    status = 422


@dataclass(frozen=True)
class Form:
    """What is asked for, and by which words."""

    action: Action
    name: str
    subject: str
    of: str
    #: where it leads when it is done, or not wanted
    back: str
    why: str = ""
    span: str = ""
    request_id: str = ""
    #: about what, for an alert
    about: str = ""

    def context(self, error: str = "") -> dict[str, Any]:
        """What the page shows."""
        names = {name: said for name, said in SPAN_NAMES.items() if name != "open" or self.action.span == "hold"}
        return {
            "form": self,
            "title": self.action.titled(self.subject, self.of),
            "says": self.action.explained(self.subject, self.of),
            "spans": names if self.action.span else {},
            "chosen": self.span or ("1h" if self.action.span == "silence" else "open"),
            "error": error,
            "still": True,
        }


def model_form(site: Site, request: Request, fields: Mapping[str, str]) -> Form:
    """The form of something that is done to a model. Raises NotFound."""
    model = f"{request.path_params['namespace']}/{request.path_params['slug']}"
    site.reader.demand_model(model)
    return _form(OF_MODELS, request, model, fields, f"/models/{model}")


def alert_form(site: Site, request: Request, fields: Mapping[str, str]) -> Form:
    """The form of something that is done to an alert. Raises NotFound."""
    alert = site.reader.alert(one_line(request.path_params["alert_id"])[:64])
    return _form(OF_ALERTS, request, alert.id, fields, "/alerts", f"{alert.name}: {alert.summary}")


def _form(
    actions: Mapping[str, Action], request: Request, subject: str, fields: Mapping[str, str], back: str, about: str = ""
) -> Form:
    name = str(request.path_params["action"])
    if name not in actions:
        raise NotFound("there is no such page")
    wanted = local_path(fields.get("back", back))
    return Form(
        action=actions[name],
        name=name,
        subject=subject,
        of=one_line(fields.get("of", ""))[:200],
        back=wanted if wanted != "/" else back,
        why=one_line(fields.get("reason", "")),
        span=fields.get("span", ""),
        request_id=_uuid(fields.get("request_id", "")),
        about=about,
    )


def _uuid(text: str) -> str:
    return text if len(text) == 36 and set(text) <= set("0123456789abcdef-") else new_id()


Reads = Callable[[Site, Request, Mapping[str, str]], Form]


def asks(site: Site, read: Reads) -> Callable[[Request], Response]:
    """The page that asks why."""

    def answer(request: Request) -> Response:
        try:
            form = read(site, request, dict(request.query_params))
            demand(caller_of(request), "operate")
        except (NotFound, Forbidden) as error:
            return problem(error)
        return html("confirm.html", {**frame(site, request), **form.context(), "path": request.url.path})

    return answer


def does(site: Site, read: Reads) -> Answers:
    """What was asked for is done, or why not is said where it was asked."""

    async def answer(request: Request) -> Response:
        fields = await form_of(request, FORM_BYTES)
        return await run_in_threadpool(_do, site, read, request, fields)

    return answer


def _do(site: Site, read: Reads, request: Request, fields: Mapping[str, str]) -> Response:
    try:
        form = read(site, request, fields)
    except NotFound as error:
        return problem(error)
    try:
        form.action.verb(_asked(site, request, form))
    except ControlPlaneError as error:
        return _again(site, request, form, error.message, error.status)
    except IllegalTransition as error:
        return _again(site, request, form, str(error), 409)
    except OperationalError:
        return _again(site, request, form, Busy().message, 503)
    path, _, query = form.back.partition("?")
    kept = "&".join(each for each in query.split("&") if each and not each.startswith("done="))
    target = address(path, done=form.name) + (f"&{kept}" if kept else "")
    return RedirectResponse(target, 303, dict(SECURITY_HEADERS))


def _asked(site: Site, request: Request, form: Form) -> Asked:
    if not form.why:
        raise NoReason
    if len(form.why) > WHY_LENGTH:
        raise NoReason(f"say it in at most {WHY_LENGTH} characters")
    clock, act = site.parts.clock.now(), act_of(request, form.why)
    return Asked(site.parts, form.subject, form.of, act, clock, site.wall.now(), form.span, form.request_id)


def _again(site: Site, request: Request, form: Form, message: str, status: int) -> Response:
    context = {**frame(site, request), **form.context(message), "path": request.url.path}
    return html("confirm.html", context, status)
