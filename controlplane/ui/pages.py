"""The routes of the admin UI: `create_app(parts, mounts=[mount])`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route

from controlplane.api.parts import Parts
from controlplane.ui.alerts_page import alerts_page
from controlplane.ui.confirming import alert_form, asks, does, model_form
from controlplane.ui.fleet_page import fleet, wanted_of
from controlplane.ui.handing import asks_to_revoke, hands_out, takes_back
from controlplane.ui.model_page import Asked, model_page
from controlplane.ui.paging import page_number
from controlplane.ui.people_page import audit_page, tokens_page
from controlplane.ui.queries import Reader
from controlplane.ui.runbook import runbook
from controlplane.ui.web import HERE, Assets, Site, endpoint, login_action, login_page
from controlplane.ui.window_page import window_page
from observability.clock import SystemClock

MODEL = "/models/{namespace}/{slug}"


def mount(app: FastAPI) -> None:
    """Add the pages, the sign-in form and the static files to an application that has its parts."""
    app.router.routes.extend(_routes(app.state.parts))


def _routes(parts: Parts) -> list[BaseRoute]:
    site = Site(parts, Reader.of(parts.store), SystemClock())
    return [
        Mount("/static", Assets(directory=HERE / "static"), name="static"),
        Route("/login", login_page, methods=["GET"], name="login"),
        Route("/login", login_action(site), methods=["POST"], name="sign-in"),
        Route("/", endpoint(site, _fleet), methods=["GET"], name="fleet-page"),
        Route(MODEL, endpoint(site, _model), methods=["GET"], name="model-page"),
        Route(MODEL + "/windows/{window_id}", endpoint(site, _window), methods=["GET"], name="window-page"),
        Route(MODEL + "/do/{action}", asks(site, model_form), methods=["GET"], name="model-form"),
        Route(MODEL + "/do/{action}", does(site, model_form), methods=["POST"], name="model-action"),
        Route("/alerts", endpoint(site, _alerts), methods=["GET"], name="alerts-page"),
        Route("/alerts/{alert_id}/do/{action}", asks(site, alert_form), methods=["GET"], name="alert-form"),
        Route("/alerts/{alert_id}/do/{action}", does(site, alert_form), methods=["POST"], name="alert-action"),
        Route("/runbook", endpoint(site, _runbook), methods=["GET"], name="runbook-page"),
        Route("/audit", endpoint(site, _audit), methods=["GET"], name="audit-page"),
        Route("/tokens", endpoint(site, _tokens), methods=["GET"], name="tokens-page"),
        Route("/tokens", hands_out(site), methods=["POST"], name="token-create"),
        Route("/tokens/{token_id}/revoke", endpoint(site, asks_to_revoke), methods=["GET"], name="token-form"),
        Route("/tokens/{token_id}/revoke", takes_back(site), methods=["POST"], name="token-revoke"),
    ]


def _fleet(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    asked = request.query_params
    wanted = wanted_of(asked.get("q", ""), asked.get("show", ""))
    return "fleet.html", fleet(site.reader, wanted, site.parts.clock.now(), page_number(asked.get("page", "")))


def _model(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    wanted = request.query_params
    asked = Asked(wanted.get("monitor"), "every" in wanted, wanted.get("segment", ""))
    silence, now = site.parts.instance_silence, site.parts.clock.now()
    return "model.html", model_page(site.reader, _model_id(request), asked, site.wall, now, silence)


def _window(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    window_id = str(request.path_params["window_id"])
    return "window.html", window_page(site.reader, _model_id(request), window_id)


def _alerts(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    number = page_number(request.query_params.get("page", ""))
    return "alerts.html", alerts_page(site.reader, dict(request.query_params), site.wall.now(), number)


def _runbook(_site: Site, _request: Request) -> tuple[str, dict[str, Any]]:
    return "runbook.html", {"headings": runbook(), "still": True}


def _audit(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    return "audit.html", audit_page(site.reader, dict(request.query_params))


def _tokens(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    asked = request.query_params
    context = tokens_page(site.reader, site.wall.now(), asked.get("before", ""))
    return "tokens.html", {**context, "revoked": asked.get("done") == "revoke"}


def _model_id(request: Request) -> str:
    return f"{request.path_params['namespace']}/{request.path_params['slug']}"
