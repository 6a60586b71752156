"""What must never be in a log, taken out on the way there. Nothing of ours logs a secret; a library might."""

from __future__ import annotations

import re
from typing import Final

_GONE: Final = "[secret]"
_SECRETS: Final = re.compile(
    r"""
    (?P<token>\bdg_)[A-Za-z0-9_-]{16,}                                # a token of ours
    | (?P<hook>\bwhsec_)[A-Za-z0-9+/=_-]{8,}                          # the secret of a webhook
    | (?P<scheme>\b(?:Bearer|Basic|ApiKey)\s+)[A-Za-z0-9+/=._~-]{8,}  # an Authorization header
    | (?P<address>://)[^\s/@"']+@                                     # who asks, in an address
    """,
    re.VERBOSE | re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """The text with tokens, secrets of webhooks, authorizations and passwords in addresses taken out.

    >>> without_secrets("GET https://ann:pw@db.example.com with Bearer dg_0190c0ffee0190c0ffee_abc")
    'GET https://[secret]@db.example.com with Bearer [secret]'
    >>> without_secrets("key dg_0190c0ffee0190c0ffee of whsec_MfKQ9r8GKYqrTwjU")
    'key dg_[secret] of whsec_[secret]'
    """
    return _SECRETS.sub(_masked, text) if _may_hold_one(text) else text


def _may_hold_one(text: str) -> bool:
    """Cheap: most lines hold none."""
    return "dg_" in text or "://" in text or "whsec_" in text or _SCHEME.search(text) is not None


_SCHEME: Final = re.compile(r"\b(?:bearer|basic|apikey)\s", re.IGNORECASE)


def _masked(found: re.Match[str]) -> str:
    kept = next(group for group in found.groups() if group is not None)
    return kept + _GONE + ("@" if kept == "://" else "")
