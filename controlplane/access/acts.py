"""Who does something, as it is kept in the audit chain. Each entry holds the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

#: what the first entry holds as the hash of the one before
GENESIS: Final = "0" * 64

Via = Literal["api", "ui", "hook"]


@dataclass(frozen=True)
class Act:
    """A person or a program that changes something. What the system does by itself has decisions instead."""

    #: name of the token
    actor: str
    #: None for a signed webhook
    token_id: str | None
    via: Via
    request_id: str
    why: str = ""


def chained(previous: str, sequence: int, at: datetime, act: Act, what: dict[str, Any]) -> str:
    """The hash of an entry: SHA-256 over the one before and everything that the entry says, as canonical JSON.

    Raises ValueError for a number that JSON does not know: an export could not say it, nor be proved.
    """
    said = {
        "previous": previous, "sequence": sequence, "at": at.isoformat(), "actor": act.actor, "token_id": act.token_id,
        "via": act.via, "request_id": act.request_id, "why": act.why, **what,
    }  # fmt: skip
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
