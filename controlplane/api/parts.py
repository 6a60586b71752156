"""What the routes work with, made once where the process starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bundle.blobs import BlobStore
from controlplane.access.auth import Authenticator
from controlplane.access.throttle import Network
from controlplane.loop.outbox import DurableLines
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
    #: of the installation: secrets of webhooks are derived from it; without one there are none
    hook_key: bytes = field(default=b"", repr=False, kw_only=True)
    #: where posted events are put; without it none are taken
    lines: DurableLines | None = field(default=None, repr=False, kw_only=True)
    #: writes Evidently's report of a model's window; without it there are none
    reports: Callable[[str, str], bytes] | None = field(default=None, repr=False, kw_only=True)
    #: whose X-Forwarded-For is believed
    trusted_proxies: tuple[Network, ...] = ()
    #: browsers come by https, though it ends in front of us
    behind_tls: bool = False
    #: where the runbook is read; the page beside the others where this is empty
    runbook_url: str = ""


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


#: what a name of a model is made of: anything else is no model's
Part = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,63}$")]


def _model_id(ns: Part, slug: Part) -> str:
    return f"{ns}/{slug}"


def _known_model(parts: TheParts, model_id: TheModel) -> str:
    parts.store.demand_model(model_id)
    return model_id


TheParts = Annotated[Parts, Depends(_parts)]
#: the model that the path names, be it there or not
TheModel = Annotated[str, Depends(_model_id)]
#: the model that the path names, which is there
KnownModel = Annotated[str, Depends(_known_model)]
Limit = Annotated[int, Query(ge=1, le=1000, description="rows of the page, at most")]
#: a filter: the column holds exactly this
Exactly = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
Number = Annotated[int | None, Query(ge=0, le=2**31 - 1)]
#: why somebody changes something, as it is kept
Sentence = Annotated[str, StringConstraints(max_length=500), StringConstraints(strip_whitespace=True)]
Why = Annotated[Sentence, Field(min_length=1, description="why: it is kept")]


class Asked(BaseModel):
    """What a change is asked with; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Reason(Asked):
    """Why it is done: it is kept, with who did it."""

    reason: Why
