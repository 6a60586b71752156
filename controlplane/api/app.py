"""The application: routes by noun behind one door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from fastapi import FastAPI

from controlplane.api import (
    access,
    alerts,
    audit,
    basics,
    document,
    events,
    failures,
    fleet,
    history,
    holds,
    hooks,
    models,
    reports,
    rules,
    runs,
    versions,
)
from controlplane.api.conditional import Conditional
from controlplane.api.door import Door
from controlplane.api.idempotency import Idempotent
from controlplane.api.parts import Parts
from controlplane.api.waiting import Waiters, ending_at_signals

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
ROUTERS = (
    basics.router, models.router, history.router, reports.router, runs.router, versions.router, events.router,
    holds.router, hooks.router, rules.router,
    alerts.router, fleet.router, access.router, audit.router,
)  # fmt: skip


def create_app(
    parts: Parts, mounts: Sequence[Callable[[FastAPI], None]] = (), lifespan: Lifespan | None = None
) -> FastAPI:
    """The API over these parts. Each of `mounts` adds its routes, which are behind the same door.

    What every route does in the same way stands before them, from the outside: the door, keys of repeated requests,
    tags and waiting.
    """
    waiters = Waiters(parts.store.pulse)
    app = FastAPI(
        title="Driftgate",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=_ending(waiters, lifespan),
    )
    app.state.parts = parts
    for router in ROUTERS:
        app.include_router(router)
    for mount in mounts:
        mount(app)
    failures.install(app)
    document.install(app)
    app.add_middleware(Conditional, store=parts.store, waiters=waiters)
    app.add_middleware(Idempotent, store=parts.store)
    app.add_middleware(Door, authenticator=parts.authenticator, trusted=parts.trusted_proxies)
    return app


def _ending(waiters: Waiters, lifespan: Lifespan | None) -> Lifespan:
    @asynccontextmanager
    async def whole(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app) if lifespan else nullcontext():
            with ending_at_signals(waiters):
                yield

    return whole
