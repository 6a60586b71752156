"""The pages over HTTP: with which headers they leave, and how one signs in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from controlplane.access.sessions import COOKIE, CSRF_FIELD, check_csrf
from controlplane.api.door import cookie_of
from controlplane.api.parts import Parts
from controlplane.errors import Denied, Forbidden, NotFound, Refused, Unauthenticated
from controlplane.replayclock import ReplayClock
from controlplane.ui import reading, verdicts, words
from controlplane.ui.actions import done_words
from controlplane.ui.paging import address
from controlplane.ui.queries import Reader
from controlplane.ui.runbook import links
from observability.clock import Clock

HERE: Final = Path(__file__).parent
#: a token is 83 characters; more than this is no sign-in form
FORM_LIMIT: Final = 4096
FORM_FIELDS: Final = 1000
FOLLOW_MS, LOOK_MS = 2000, 5000

#: functions that templates use by their names
FILTERS: Final[tuple[Callable[..., str], ...]] = (
    words.ago,
    words.count,
    words.day,
    words.iso,
    words.metric,
    words.number,
    words.percent,
    words.seconds,
    words.short,
    words.signed,
    words.title,
    words.when,
    words.when_utc,
    reading.decision_words,
    reading.drift_words,
    reading.outcome_of,
    reading.reason_words,
    verdicts.cause_state,
    verdicts.cause_words,
)

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Site:
    """What every page needs."""

    parts: Parts
    reader: Reader
    #: the machine's clock
    wall: Clock


Page = Callable[[Site, Request], tuple[str, dict[str, Any]]]


class Assets(StaticFiles):
    """Static files, always asked for again: they change with the package, not with the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-cache"})
        return response


def environment() -> Environment:
    """Templates that escape everything they write and fail on a name that nobody gave."""
    loader = FileSystemLoader(HERE / "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for function in FILTERS:
        made.filters[function.__name__] = function
    made.globals["address"] = address
    made.filters["px"] = lambda value: f"{round(value, 1):g}"
    return made


TEMPLATES: Final = environment()


def html(name: str, context: Mapping[str, Any], status: int = 200) -> Response:
    """The template as a page."""
    body = TEMPLATES.get_template(name).render(context)
    return HTMLResponse(body, status, {**SECURITY_HEADERS, "Cache-Control": "no-store"})


def endpoint(site: Site, page: Page) -> Callable[[Request], Response]:
    """A page. The application's door has let the caller in before."""

    def answer(request: Request) -> Response:
        try:
            name, context = page(site, request)
        except NotFound as error:
            return problem(error)
        return html(name, {**frame(site, request), **context})

    return answer


def frame(site: Site, request: Request) -> dict[str, Any]:
    """What the frame of every page shows."""
    return {
        "signed_in": True,
        "caller": request.state.caller,
        "csrf": request.state.caller.csrf,
        "now": site.parts.clock.now(),
        "replayed": isinstance(site.parts.clock, ReplayClock),
        "follow_ms": FOLLOW_MS,
        "look_ms": LOOK_MS,
        "serving_url": site.parts.serving_url,
        "active": False,
        #: of a page that does not look for news
        "still": False,
        "may_operate": "operate" in request.state.caller.scopes,
        "may_admin": "admin" in request.state.caller.scopes,
        "told": site.reader.open_counts(),
        "here": request.url.path,
        "done": done_words(request.query_params.get("done", "")),
        "anchors": links(site.parts.runbook_url),
    }


def problem(error: Refused) -> Response:
    """A page that says what went wrong."""
    context = {"signed_in": False, "title": type(error).__name__, "message": error.message}
    return html("problem.html", context, error.status)


def local_path(value: str) -> str:
    r"""The place to go to after signing in, if it is one of ours.

    >>> local_path("/models/default/tweets"), local_path("//evil.example"), local_path("/\\evil.example")
    ('/models/default/tweets', '/', '/')
    """
    clean = value.startswith("/") and not value.startswith(("//", "/\\")) and value.isprintable()
    return value if clean else "/"


def login_page(request: Request) -> Response:
    """The form that asks for a token."""
    target = local_path(request.query_params.get("next", "/"))
    return html("login.html", {"signed_in": False, "target": target, "error": ""})


def login_action(site: Site) -> Callable[[Request], Any]:
    """Sign in with a token, or sign out. Both are posts to /login, which is an open route."""

    async def act(request: Request) -> Response:
        if not _from_here(request):
            return problem(Forbidden("Sign in from the page itself."))
        form = await form_of(request)
        return await run_in_threadpool(_sign_out if form.get("leave") else _sign_in, site, request, form)

    return act


def _from_here(request: Request) -> bool:
    """Whether this is a form of ours: nobody is signed in, as somebody else, by another site."""
    origin = request.headers.get("origin")  # `null` is that of a page that hides where it comes from
    elsewhere = origin is not None and origin.partition("://")[2] != request.headers.get("host", "-")
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none") and not elsewhere


def _sign_in(site: Site, request: Request, form: Mapping[str, str]) -> Response:
    token, target = form.get("token", "").strip(), local_path(form.get("next", "/"))
    authenticator, state = site.parts.authenticator, request.state
    try:
        caller = authenticator.authenticate(token, state.address)
        begun = authenticator.sessions.begin(caller, state.request_id, cookie_of(request.headers))
    except Denied as error:
        message = "That token is not known here." if isinstance(error, Unauthenticated) else error.message
        page = html("login.html", {"signed_in": False, "target": target, "error": message}, error.status)
        if "retry_after" in error.details:
            page.headers["Retry-After"] = str(error.details["retry_after"])
        return page
    answer = RedirectResponse(target, 303, dict(SECURITY_HEADERS))
    secure = site.parts.behind_tls or request.url.scheme == "https"
    answer.set_cookie(COOKIE, begun.cookie, begun.seconds, httponly=True, secure=secure, samesite="strict")
    return answer


def _sign_out(site: Site, request: Request, form: Mapping[str, str]) -> Response:
    sessions, cookie = site.parts.authenticator.sessions, cookie_of(request.headers)
    try:
        check_csrf(sessions.resume(cookie), form.get(CSRF_FIELD, ""))
        sessions.end(cookie, request.state.request_id)
    except Forbidden as error:
        return problem(error)
    except Unauthenticated:
        pass  # it has ended already: the browser may forget it
    answer = RedirectResponse("/login", 303, dict(SECURITY_HEADERS))
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


async def form_of(request: Request, limit: int = FORM_LIMIT) -> dict[str, str]:
    """The fields of a small form. Raises HTTPException 413 before more than the limit is held in memory."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, "the form is too long")
    try:
        fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError as error:
        raise HTTPException(422, "the form has too many fields") from error
    return {name: values[-1] for name, values in fields.items()}
