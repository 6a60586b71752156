"""Who may ask: bearer tokens, checked against the hashes that the control plane handed out.

Serving holds no token, so none can be stolen from it, and it checks on its own, so it answers
while the control plane is away.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from serving.desired import TokenRef
from serving.errors import Refused

SCOPE: Final = "predict"
_BEARER: Final = b"bearer "
_LONGEST: Final = 512


class Access:
    """The tokens of one desired state. Immutable: another state makes another object."""

    def __init__(self, tokens: Iterable[TokenRef]) -> None:
        self._tokens = tuple((token.sha256.encode(), token) for token in tokens)

    def check(self, authorization: bytes | None, now: datetime) -> None:
        """Return for a known, unexpired token of the scope `predict`. Raises Refused: 401 or 403."""
        token = self._find(_bearer(authorization))
        if token is None or not token.valid_at(now):
            raise Refused(401, "unauthorized", "the token is unknown or has expired: ask for a new one")
        if SCOPE not in token.scopes:
            raise Refused(403, "forbidden", f"the token lacks the scope {SCOPE!r}", {"scope": SCOPE})

    def _find(self, secret: bytes) -> TokenRef | None:
        digest = hashlib.sha256(secret).hexdigest().encode()
        found = None
        for (
            known,
            token,
        ) in self._tokens:  # all of them, always: the time taken says nothing about which one matched
            if hmac.compare_digest(known, digest):
                found = token
        return found


def _bearer(authorization: bytes | None) -> bytes:
    if authorization is None or authorization[:7].lower() != _BEARER or len(authorization) > _LONGEST:
        raise Refused(401, "unauthorized", "send the header `Authorization: Bearer TOKEN`")
    return authorization[7:].strip()
