"""The audit chain's proof, as a pure function: it works on the database's rows and on an export of them alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

from controlplane.access.acts import GENESIS, Act, Via, chained


class Entry(Protocol):
    """What an entry says."""

    @property
    def sequence(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def actor(self) -> str: ...
    @property
    def token_id(self) -> str | None: ...
    @property
    def via(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def before(self) -> dict[str, Any] | None: ...
    @property
    def after(self) -> dict[str, Any] | None: ...
    @property
    def request_id(self) -> str: ...
    @property
    def previous(self) -> str: ...
    @property
    def hash(self) -> str: ...


@dataclass(frozen=True)
class Broken:
    """The first place at which the chain is not as it was written."""

    sequence: int
    why: str


@dataclass(frozen=True)
class Verdict:
    """How long the chain is, its last hash, and where it is broken. Kept elsewhere, the hash proves all before it."""

    entries: int
    head: str
    broken: Broken | None


def first_broken(entries: Iterable[Entry], length: int, head: str) -> Broken | None:
    """Where a chain of this length, which ends with this hash, is broken; None where every entry is as it was written.

    Entries come in the order of their numbers.
    """
    expected, previous = 1, GENESIS
    for entry in entries:
        if entry.sequence != expected:
            return Broken(expected, "the entry is missing")
        if entry.previous != previous:
            return Broken(expected, "it does not follow from the entry before")
        if entry.hash != _hash_of(entry):
            return Broken(expected, "it says something else than when it was written")
        expected, previous = expected + 1, entry.hash
    if expected <= length:
        return Broken(expected, "the entry is missing")
    if previous != head:
        return Broken(length, "it is not the entry that the chain ended with")
    return None


def _hash_of(entry: Entry) -> str:
    """The hash that the entry should have; none where it says what was never written."""
    act = Act(entry.actor, entry.token_id, cast(Via, entry.via), entry.request_id, entry.why)
    what = {"action": entry.action, "subject": entry.subject, "before": entry.before, "after": entry.after}
    try:
        return chained(entry.previous, entry.sequence, entry.at, act, what)
    except ValueError:
        return ""
