"""Desired state: what should be loaded and who may ask, kept on disk for when the control plane is away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundle.signature import ModelId
from observability.durable import replace_durably
from observability.events import Instant

_log = logging.getLogger(__name__)


class _Told(BaseModel):
    """What a control plane said. It may be newer than this process and say more: that is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class VersionRef(_Told):
    """A version by number, and its bytes by the digest of its manifest."""

    version: int
    manifest: str = Field(pattern="^[0-9a-f]{64}$")


class RivalRef(VersionRef):
    """The version that scores the same rows as the one in production during a rollout."""

    #: of the requests, so many are answered by it: more than nothing only in a canary step
    share: float = Field(default=0.0, ge=0, le=1)
    #: whether it was in production before: then it answers where the version in production cannot
    promoted: bool = False


class ModelState(_Told):
    """The versions of a model that should be loaded: one that answers, its rival, one that is warm."""

    model: ModelId
    production: VersionRef | None = None
    staging: VersionRef | None = None
    rival: RivalRef | None = None


class TokenRef(_Told):
    """A caller's token as its SHA-256: serving never learns the token itself."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: frozenset[str]
    expires_at: Instant | None = None

    def valid_at(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


class Wanted(NamedTuple):
    """A model's version by the bytes that it must have: the unit that is loaded, kept and reported."""

    model: str
    version: int
    manifest: str

    @classmethod
    def of(cls, model: str, ref: VersionRef) -> Wanted:
        return cls(model, ref.version, ref.manifest)


class DesiredState(_Told):
    """Everything that serving is told."""

    models: tuple[ModelState, ...] = ()
    tokens: tuple[TokenRef, ...] = ()

    def in_production(self) -> Iterator[Wanted]:
        """The versions that should answer."""
        for state in self.models:
            if state.production:
                yield Wanted.of(state.model, state.production)

    def wanted(self) -> Iterator[Wanted]:
        """Every version that should be loaded, each once, those that should answer first."""
        others = (
            Wanted.of(state.model, ref)
            for state in self.models
            for ref in (state.rival, state.staging)
            if ref is not None
        )
        yield from dict.fromkeys((*self.in_production(), *others))


class DesiredCache:
    """The last desired state, on disk. The file is replaced as a whole, so nobody meets a half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, desired: DesiredState) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(self._path, desired.model_dump_json().encode())

    def load(self) -> DesiredState | None:
        """The state saved last; None where there is none that can be read."""
        try:
            return DesiredState.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            _log.warning("the saved desired state %s cannot be read and is passed over: %s", self._path, error)
            return None
