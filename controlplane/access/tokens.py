"""Bearer tokens: `dg_ID_SECRET`, where ID names the token and SECRET has 256 random bits.

Only the SHA-256 of the whole is kept. A secret of 256 bits cannot be guessed, so a plain hash cannot be turned back,
and a right one is never refused because of wrong ones that others tried.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from observability.ids import new_id

PREFIX: Final = "dg_"
_FORM: Final = re.compile(r"dg_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True)
class Minted:
    """A new token: `secret` is shown once, to whoever asked for it."""

    id: str
    secret: str = field(repr=False)

    @property
    def sha256(self) -> str:
        return digest_of_token(self.secret)


def mint() -> Minted:
    """A token that nobody can guess, under an id of its own."""
    made = new_id()
    return Minted(made, f"{PREFIX}{made}_{secrets.token_urlsafe(32)}")


def new_token() -> str:
    """A token without an id, as release 0.1.0 made them and as credentials files hold them."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of_token(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def account_of(token: str) -> str | None:
    """The id that a token names, known or not; None for one without an id.

    >>> account_of("dg_0190b4f0-0000-7000-8000-000000000000_" + "x" * 43)
    '0190b4f0-0000-7000-8000-000000000000'
    >>> account_of("dg_" + "x" * 43) is None
    True
    """
    found = _FORM.fullmatch(token)
    return found[1] if found else None


def is_live(expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> bool:
    """Whether a token lets anybody in: from the instant of its end on it does not."""
    return revoked_at is None and (expires_at is None or now < expires_at)
