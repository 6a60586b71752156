"""The HTTP application: five routes, one shape of error. The door in front has checked token and body."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import orjson
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from observability.clock import SystemClock
from observability.spool.writer import SpoolWriter
from serving.answering import Answering
from serving.door import refusal_headers
from serving.errors import Refused
from serving.fetch import ControlPlane
from serving.metrics import ServingMetrics
from serving.poller import Poller, frozen_heap
from serving.settings import Settings

_log = logging.getLogger("bentoml.driftgate.serving")


#: what a process tells of itself while the context is open
Telling = Callable[[Settings], AbstractContextManager[CollectorRegistry]]


def _untold(_settings: Settings) -> AbstractContextManager[CollectorRegistry]:
    return nullcontext(CollectorRegistry())


class Application:
    """The routes, and what they need from the start of the process to its end."""

    def __init__(self, read_settings: Callable[[], Settings], telling: Telling = _untold) -> None:
        self._read_settings = read_settings
        self._telling = telling
        self._metrics: ServingMetrics | None = None
        self._answering: Answering | None = None
        routes = [
            Route("/v1/models/{namespace}/{slug}/predict", self.predict, methods=["POST"]),
            Route("/v1/models/{namespace}/{slug}/labels", self.labels, methods=["POST"]),
            Route("/v1/loaded", self.loaded, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.readiness, methods=["GET"]),
        ]
        self.asgi = Starlette(
            routes=routes,
            exception_handlers={Refused: self._refused, HTTPException: _http_error, Exception: _internal_error},
            lifespan=self._lifespan,
        )

    def check(self, authorization: bytes | None) -> None:
        """The door asks here whether the holder of a header may ask."""
        try:
            self.answering.check(authorization)
        except Refused as refused:
            self._count(refused)
            raise

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Told of each answer, whoever gave it."""
        if self._metrics is not None:
            self._metrics.answered(scope, status, seconds)

    @property
    def answering(self) -> Answering:
        if self._answering is None:
            raise Refused(503, "not_ready", "the service is starting or stopping")
        return self._answering

    async def predict(self, request: Request) -> Response:
        return _json(await self.answering.predict(_model(request), await request.body()))

    async def labels(self, request: Request) -> Response:
        return _json(await self.answering.label(_model(request), await request.body()))

    async def loaded(self, _: Request) -> Response:
        return _json(self.answering.loaded())

    async def health(self, _: Request) -> Response:
        self.answering.check_alive()
        return _json({"status": "alive"})

    async def readiness(self, _: Request) -> Response:
        self.answering.check_ready()
        return _json({"status": "ready"})

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        settings = self._read_settings()
        settings.folders.make()
        quota = settings.spool_quota_bytes
        with (
            self._telling(settings) as registry,
            SpoolWriter.claim(settings.folders.spool, "serving", quota_bytes=quota) as spool,
        ):
            poller = Poller(settings, ControlPlane(settings))
            self._answering = Answering(poller, spool, settings.key(), SystemClock())
            self._metrics = ServingMetrics(registry, self._answering, poller, spool, quota)
            frozen_heap()
            poller.start()
            try:
                yield
            finally:
                poller.stop()
                self._answering, self._metrics = None, None

    async def _refused(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)  # noqa: S101 - Starlette chose this handler by type
        self._count(error)
        return _refusal(error)

    def _count(self, refused: Refused) -> None:
        if self._metrics is not None:
            self._metrics.refused(refused.code)


def _model(request: Request) -> str:
    parameters = request.path_params
    return f"{parameters['namespace']}/{parameters['slug']}"


def _json(content: Any) -> Response:  # noqa: ANN401 - anything that is JSON
    return Response(orjson.dumps(content), media_type="application/json")


def _refusal(refused: Refused) -> Response:
    response = Response(orjson.dumps(refused.body), status_code=refused.status)
    response.raw_headers.extend(refusal_headers(refused))
    return response


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette chose this handler by type
    code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    return _refusal(Refused(error.status_code, code, error.detail))


async def _internal_error(_: Request, __: Exception) -> Response:
    """Starlette raises the error again when this is sent, so it reaches the log with its traceback."""
    return _refusal(Refused(500, "internal", "something went wrong here; the log of the service says what"))
