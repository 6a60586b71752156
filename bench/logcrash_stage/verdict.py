"""What came of it: read from Elasticsearch, the dead letters, the ledger and the writers' own account."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from bench.logcrash_stage.plan import Plan
from observability.spool.dead_letters import DeadLetters
from observability.spool.ledger import Ledger, ledger

_ID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Seen:
    """All that is left."""

    #: ids of events in Elasticsearch, as often as they are there
    indexed: Counter[str]
    #: ids of the lines among the dead letters; a torn line may have none
    dead: Sequence[str | None]
    ledger: Ledger
    intended: frozenset[str]
    acknowledged: frozenset[str]


def look(plan: Plan) -> Seen:
    """Read everything once, from Elasticsearch itself and past the proxy."""
    client = Elasticsearch(plan.elasticsearch, request_timeout=120)
    pattern = f"logs-driftgate.*-{plan.namespace}"
    client.indices.refresh(index=pattern)
    indexed = Counter(
        hit["_source"]["event"]["id"]
        for hit in scan(client, index=pattern, query={"query": {"match_all": {}}, "_source": ["event.id"]}, size=5_000)
    )
    client.close()
    return Seen(
        indexed=indexed, dead=list(_dead(plan)), ledger=ledger(plan.spool),
        intended=_ids(plan, "intended"), acknowledged=_ids(plan, "acknowledged"),
    )  # fmt: skip


def _dead(plan: Plan) -> Iterator[str | None]:
    for letter in DeadLetters(plan.dead_letters):
        found = _ID.search(letter.data)
        yield found[0].decode() if found else None


def _ids(plan: Plan, account: str) -> frozenset[str]:
    paths = (getattr(plan, account)(number) for number in range(plan.writers))
    return frozenset(name for path in paths for name in path.read_text().split())


def judge(seen: Seen) -> dict[str, Any]:
    """The figures: what is there twice, and what is nowhere or not as the ledger says."""
    dead = {name for name in seen.dead if name is not None}
    book = seen.ledger
    return {
        "events": book.spooled,
        "indexed": seen.indexed.total(),
        "dead_lettered": len(seen.dead),
        "duplicates": seen.indexed.total() - len(seen.indexed) + len(seen.dead) - len(set(seen.dead)),
        "unaccounted": abs(book.unaccounted)
        + len(seen.acknowledged - seen.indexed.keys() - dead)
        + len(seen.indexed.keys() - seen.intended)
        + abs(book.indexed - len(seen.indexed))
        + abs(book.dead_lettered - len(seen.dead)),
        "indexed_and_dead": len(dead & seen.indexed.keys()),
    }
