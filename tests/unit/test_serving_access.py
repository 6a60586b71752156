"""Tokens: only a known, living one of the right scope."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from serving.access import Access
from serving.desired import TokenRef
from serving.errors import Refused

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def token(secret: str, *scopes: str, expires_at: datetime | None = None) -> TokenRef:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return TokenRef(sha256=digest, scopes=frozenset(scopes), expires_at=expires_at)


ACCESS = Access(
    [
        token("right", "predict", "read"),
        token("reader", "read"),
        token("ending", "predict", expires_at=NOW + timedelta(seconds=1)),
    ]
)


@pytest.mark.parametrize("header", [b"Bearer right", b"bearer right", b"BEARER  right"])
def test_the_right_token_is_heard(header: bytes) -> None:
    ACCESS.check(header, NOW)


@pytest.mark.parametrize(
    ("header", "status"),
    [(None, 401), (b"", 401), (b"right", 401), (b"Bearer", 401), (b"Bearer wrong", 401), (b"Basic right", 401),
     (b"Bearer reader", 403), (b"Bearer \xff\xfe", 401)],
)  # fmt: skip
def test_any_other_is_refused(header: bytes | None, status: int) -> None:
    with pytest.raises(Refused) as refused:
        ACCESS.check(header, NOW)
    assert refused.value.status == status


def test_a_token_ends_at_its_expiry() -> None:
    ACCESS.check(b"Bearer ending", NOW)
    with pytest.raises(Refused):
        ACCESS.check(b"Bearer ending", NOW + timedelta(seconds=1))


def test_nobody_is_heard_before_the_first_desired_state() -> None:
    with pytest.raises(Refused):
        Access(()).check(b"Bearer right", NOW)
