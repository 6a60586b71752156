"""What the routes work with, made once where the process starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from bundle.blobs import BlobStore
from controlplane.auth import Authenticator
from controlplane.store import Store
from observability.clock import Clock


@dataclass(frozen=True)
class Parts:
    """The control plane's parts, for its routes and its admin pages (`request.app.state.parts`)."""

    store: Store
    blobs: BlobStore
    clock: Clock
    authenticator: Authenticator
    instance_silence: timedelta = timedelta(seconds=15)
    #: where serving answers, to show it
    serving_url: str = field(default="http://127.0.0.1:3000")
    #: why nothing is decided, for readiness; None where all is well
    trouble: Callable[[], str | None] = lambda: None


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _model_id(ns: Annotated[str, Path(max_length=63)], slug: Annotated[str, Path(max_length=63)]) -> str:
    return f"{ns}/{slug}"


TheParts = Annotated[Parts, Depends(_parts)]
TheModel = Annotated[str, Depends(_model_id)]
Limit = Annotated[int, Query(ge=1, le=1000)]
