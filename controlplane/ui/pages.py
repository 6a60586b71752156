"""The routes of the admin UI: `create_app(parts, mounts=[mount])`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route

from controlplane.api.parts import Parts
from controlplane.ui.fleet_page import fleet
from controlplane.ui.model_page import Asked, model_page
from controlplane.ui.queries import Reader
from controlplane.ui.web import HERE, Assets, Site, endpoint, login_action, login_page
from controlplane.ui.window_page import window_page
from observability.clock import SystemClock


def mount(app: FastAPI) -> None:
    """Add the pages, the sign-in form and the static files to an application that has its parts."""
    app.router.routes.extend(_routes(app.state.parts))


def _routes(parts: Parts) -> list[BaseRoute]:
    site = Site(parts, Reader.of(parts.store), SystemClock())
    window = "/models/{namespace}/{slug}/windows/{window_id}"
    return [
        Mount("/static", Assets(directory=HERE / "static"), name="static"),
        Route("/login", login_page, methods=["GET"], name="login"),
        Route("/login", login_action(site), methods=["POST"], name="sign-in"),
        Route("/", endpoint(site, _fleet), methods=["GET"], name="fleet-page"),
        Route("/models/{namespace}/{slug}", endpoint(site, _model), methods=["GET"], name="model-page"),
        Route(window, endpoint(site, _window), methods=["GET"], name="window-page"),
    ]


def _fleet(site: Site, _request: Request) -> tuple[str, dict[str, Any]]:
    rows = fleet(site.reader, site.wall)
    return "fleet.html", {"rows": rows, "active": any(row.run or row.on_its_way for row in rows)}


def _model(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    asked = Asked(request.query_params.get("monitor"), "every" in request.query_params)
    silence = site.parts.instance_silence
    return "model.html", model_page(site.reader, _model_id(request), asked, site.wall, silence)


def _window(site: Site, request: Request) -> tuple[str, dict[str, Any]]:
    window_id = str(request.path_params["window_id"])
    return "window.html", window_page(site.reader, _model_id(request), window_id)


def _model_id(request: Request) -> str:
    return f"{request.path_params['namespace']}/{request.path_params['slug']}"
