"""The API over a test's world, called without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import Session, SQLModel

from controlplane.access.auth import Authenticator, digest_of_token, new_token
from controlplane.api import Parts, create_app
from controlplane.client import ControlClient
from controlplane.replayclock import ReplayClock
from controlplane.tables import DecisionRecord, Firing
from observability.ids import new_id
from tests.controlplane_world import MODEL, START, World


def api_of(
    world: World,
    scope: str = "admin",
    hook_key: bytes = b"",
    mounts: Sequence[Callable[[FastAPI], None]] = (),
    **client: Any,
) -> TestClient:
    """A client with a token of this scope; the pages are there where they are among `mounts`."""
    token = new_token()
    world.store.add_token(scope, digest_of_token(token), [scope])
    parts = Parts(
        world.store,
        world.blobs,
        ReplayClock(world.store),
        Authenticator(world.store),
        hook_key=hook_key,
        lines=world.lines,
        reports=lambda model, window: f"<html>{model} {window}</html>".encode(),
    )
    return TestClient(create_app(parts, mounts), headers={"Authorization": f"Bearer {token}"}, **client)


def add(world: World, *rows: SQLModel) -> None:
    """Rows as they would be stored."""
    with Session(world.store._writing_engine, expire_on_commit=False) as session, session.begin():
        for row in rows:
            session.add(row)
            session.flush()


def decision(number: int, model: str = MODEL, **changes: Any) -> DecisionRecord:
    said: dict[str, Any] = {
        "id": new_id(), "model": model, "rule": "drifted", "kind": "drift", "cause": f"window-{number}", "turn": 1,
        "outcome": "wait", "reason": "WAIT_STABLE", "detail": f"number {number}", "numbers": {}, "version": 1,
        "decided_at": START + timedelta(hours=number), "recorded_at": START,
    }  # fmt: skip
    return DecisionRecord(**said | changes)


def firing(of: DecisionRecord) -> Firing:
    return Firing(
        id=new_id(), model=of.model, rule=of.rule, kind=of.kind, trigger="data", cause=of.cause, decision_id=of.id,
        reason=of.reason, detail=of.detail, fired_at=of.decided_at, recorded_at=of.recorded_at,
    )  # fmt: skip


class Wire:
    """Carries a client's requests to the application, and remembers them."""

    def __init__(self, application: TestClient) -> None:
        self.application = application
        self.called: set[tuple[str, str]] = set()
        self.token = application.headers["Authorization"].removeprefix("Bearer ")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.called.add((request.method.lower(), request.url.path))
        sent = self.application.request(
            request.method, request.url.raw_path.decode(), content=request.content, headers=dict(request.headers)
        )
        headers = {name: value for name, value in sent.headers.items() if name in ("etag", "content-type")}
        return httpx.Response(sent.status_code, content=sent.content, headers=headers)

    def client(self, *_: object) -> ControlClient:
        transport = httpx.MockTransport(self)
        return ControlClient("http://testserver", self.token, transport=transport, sleep=lambda _: None)
