"""The application: routes by noun behind one door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from controlplane.api import basics, failures, fleet, history, models
from controlplane.api.door import Door
from controlplane.api.parts import Parts

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    parts: Parts, mounts: Sequence[Callable[[FastAPI], None]] = (), lifespan: Lifespan | None = None
) -> FastAPI:
    """The API over these parts. Each of `mounts` adds its routes, which are behind the same door."""
    app = FastAPI(
        title="Driftgate",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=lifespan,
    )
    app.state.parts = parts
    for router in (basics.router, models.router, history.router, fleet.router):
        app.include_router(router)
    for mount in mounts:
        mount(app)
    failures.install(app)
    app.add_middleware(Door, authenticator=parts.authenticator)
    return app
