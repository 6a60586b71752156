"""Wrong tokens are slowed down: counted for the address that sent them and for the account that they name.

They are counted in the database, so that all replicas count together. Who is refused is remembered in the process for
as long as that holds, so that a flood costs no more writes. What is kept is bounded: of one address at most ten rows a
minute, of all together a number of rows a minute for each process, and nothing for longer than an hour.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from controlplane.errors import TooManyAttempts
from controlplane.store import Store

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: an IPv6 customer has so many bits of addresses: they are one peer
_IPV6_PREFIX: Final = 64


@dataclass(frozen=True)
class Limit:
    """At most so many failures within a time."""

    failures: int
    within: timedelta

    def opens_at(self, failed: Sequence[datetime], now: datetime) -> datetime | None:
        """When the next attempt counts again, given the instants of failures, newest first. None where it does now."""
        recent = [at for at in failed if at > now - self.within]
        return recent[self.failures - 1] + self.within if len(recent) >= self.failures else None


class Throttle:
    """Says of a wrong token whether it is still answered as one, or told to wait; and of a right one whether it may
    begin another session now, which is kept in the audit chain for ever.
    """

    SIGN_INS: Final = (Limit(20, MINUTE), Limit(120, HOUR))

    #: refused subjects that one process remembers
    REMEMBERED: Final = 10_000

    def __init__(self, store: Store, failures: int = 10, hourly: int = 100, writes: int = 1_000) -> None:
        self._store = store
        self._address: tuple[Limit, ...] = (Limit(failures, MINUTE),)
        self._account: tuple[Limit, ...] = (Limit(failures, MINUTE), Limit(hourly, HOUR))
        self._writes = writes
        self._lock = threading.Lock()
        self._closed: dict[str, datetime] = {}
        self._minute: datetime | None = None
        self._written = 0

    def count(self, address: str, account: str | None, now: datetime) -> None:
        """Count a failure of this address and, where it is one that exists, of this account.

        Raises TooManyAttempts where either has failed too often; so at most the limit is answered as wrong, also when
        many come at once, because each counts itself before it looks.
        """
        limits = {f"address:{_peer(address)}": self._address}
        if account is not None:
            limits[f"token:{account}"] = self._account
        self._refuse_closed(limits, now)
        for subject, allowed in limits.items():
            self._refuse(subject, self._opens_at(subject, allowed, now), now)
        if not self._may_write(now, len(limits)):
            raise _wait(MINUTE)
        self._store.record_failures(list(limits), now)
        for subject, allowed in limits.items():
            more = tuple(Limit(limit.failures + 1, limit.within) for limit in allowed)  # the one just written is ours
            self._refuse(subject, self._opens_at(subject, more, now), now)

    def count_sign_in(self, account: str, now: datetime) -> None:
        """A session is about to begin with this token. Raises TooManyAttempts where it has begun too many lately."""
        subject = f"sign-in:{account}"
        self._may_write(now, 0)  # only to forget what is old: what is written here is bounded by the limits
        until = self._opens_at(subject, self.SIGN_INS, now)
        if until is not None:
            raise _wait(until - now, "too many sessions were begun with this token")
        self._store.record_failures([subject], now)

    def _opens_at(self, subject: str, limits: Sequence[Limit], now: datetime) -> datetime | None:
        most = max(limit.failures for limit in limits)
        failed = self._store.failures(subject, now - max(limit.within for limit in limits), now + MINUTE, most)
        return max((at for limit in limits if (at := limit.opens_at(failed, now)) is not None), default=None)

    def _refuse(self, subject: str, until: datetime | None, now: datetime) -> None:
        if until is None:
            return
        with self._lock:
            if len(self._closed) >= self.REMEMBERED:
                self._closed = {each: at for each, at in self._closed.items() if now < at}
            if len(self._closed) < self.REMEMBERED:
                self._closed[subject] = until
        raise _wait(until - now)

    def _refuse_closed(self, subjects: Iterable[str], now: datetime) -> None:
        with self._lock:
            for subject in subjects:
                until = self._closed.get(subject)
                if until is not None and now < until <= now + HOUR + MINUTE:  # else the clock went back
                    raise _wait(until - now)
                self._closed.pop(subject, None)

    def _may_write(self, now: datetime, rows: int) -> bool:
        """Whether this minute's rows are not used up. Once a minute, what is too old is forgotten."""
        with self._lock:
            begins = self._minute is None or not timedelta(0) <= now - self._minute < MINUTE
            if begins:
                self._minute, self._written = now, 0
            self._written += rows
            allowed = self._written <= self._writes
        if begins:
            self._store.forget_failures(now - HOUR)
        return allowed


def address_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address of whoever asks: the peer, or what the listed proxies say of whom they speak for.

    Read from the right, each word of X-Forwarded-For was written by the one behind it; the first that no listed
    proxy wrote is not believed, nor anything left of it.

    >>> here = [ipaddress.ip_network("10.0.0.0/8")]
    >>> address_of("10.0.0.1", ["1.1.1.1, 203.0.113.9", "10.0.0.2"], here), address_of("8.8.8.8", ["1.1.1.1"], here)
    ('203.0.113.9', '8.8.8.8')
    """
    said = [word.strip() for line in forwarded for word in line.split(",")]
    while said and _is_listed(peer, trusted):
        try:
            peer = str(ipaddress.ip_address(said.pop()))
        except ValueError:
            break
    return peer


def _is_listed(peer: str, trusted: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # a socket of both families names its peers of IPv4 like this
    return any(address in network for network in trusted)


def _peer(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))
    return str(found)


def _wait(left: timedelta, why: str = "too many wrong tokens from this address or for this account") -> TooManyAttempts:
    seconds = max(1, math.ceil(left.total_seconds()))
    return TooManyAttempts(f"{why}: try again in {seconds} s", retry_after=seconds)
