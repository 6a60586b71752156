"""Settings that would let others in are refused at the start, with what to do about it.

The demo listens on this machine only and makes its secrets itself: it needs no settings.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Final

from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from bundle.addresses import is_loopback
from controlplane.access.credentials import Credentials
from controlplane.errors import Unsafe
from controlplane.settings import Settings

#: 32 random letters and digits have more than 128 bits
SHORTEST: Final = 32
#: a random secret of 32 characters has more different ones, all but never fewer
FEWEST_DIFFERENT: Final = 8
_DEFAULTS: Final = re.compile(
    "change.?(this|me|it)|pass.?word|secret|default|example|insecure|letmein|admin|driftgate|postgres|12345|qwerty|test",
    re.IGNORECASE,
)


def refuse_unsafe(settings: Settings, credentials: Credentials) -> None:
    """Raises Unsafe, naming the setting."""
    if not is_loopback(settings.host) and not settings.behind_tls:
        raise Unsafe(
            f"CONTROLPLANE_HOST={settings.host} can be reached from other machines, and tokens would cross the network "
            "unencrypted: put a proxy with TLS in front and set CONTROLPLANE_BEHIND_TLS=true, or listen on 127.0.0.1"
        )
    secrets = {"CONTROLPLANE_SECRET_KEY": settings.secret_key}
    secrets |= {f"{name} in the credentials file": secret for name, secret in vars(credentials).items()}
    for name, secret in secrets.items():
        if secret is not None and (why := weakness(secret)):
            raise Unsafe(f"{name} {why}: use one that `openssl rand -hex 32` makes")
    if any(_is_default(password) for password in _passwords(settings.database_url)):
        raise Unsafe("the password in CONTROLPLANE_DATABASE_URL is one that everybody tries first: choose another")


def _passwords(database_url: str) -> Iterator[str]:
    """Wherever the driver takes one from: before the host, or behind the question mark."""
    try:
        url = make_url(database_url) if database_url else None
    except ArgumentError:
        return  # it opens no database
    if url is not None:
        yield from (url.password,) if url.password is not None else ()
        yield from (each for each in url.normalized_query.get("password", ()))


def weakness(secret: SecretStr) -> str:
    """Why a secret can be guessed; empty where it cannot."""
    said = secret.get_secret_value()
    if len(said) < SHORTEST:
        return f"has fewer than {SHORTEST} characters"
    if len(set(said)) < FEWEST_DIFFERENT:
        return "is made of few characters"
    if len(_DEFAULTS.sub("", said)) < SHORTEST // 2:
        return "is a word that everybody tries first"
    return ""


def _is_default(password: str) -> bool:
    word = password.rstrip(string.digits + string.punctuation)
    return _DEFAULTS.fullmatch(password) is not None or _DEFAULTS.fullmatch(word) is not None
