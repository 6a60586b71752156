"""The short form of `make bench NAME=logcrash`: real processes, a real SIGKILL, a real Elasticsearch, real faults."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from bench.logcrash_stage.verdict import Seen, judge
from observability.spool.ledger import Ledger


def test_each_of_20000_events_is_indexed_once_or_set_aside_though_processes_die_and_calls_fail(
    elasticsearch_server, tmp_path
):
    elasticsearch_server.start()
    command = [sys.executable, "-m", "bench.logcrash", "--short", "--url", elasticsearch_server.url]
    done = subprocess.run([*command, "--keep", str(tmp_path)], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])

    assert all(claim["holds"] for claim in told["claims"])
    figures = told["figures"]
    assert figures["events"] >= 20_000 and figures["kills"] >= 40
    assert figures["duplicates"] == figures["unaccounted"] == figures["waiting"] == 0
    assert figures["kills_by_kind"]["shipper at a point"] > 0
    assert sum(figures["faults"].values()) > 10


def seen(
    indexed: dict[str, int], dead: list[str | None], book: tuple[int, int, int, int], acknowledged: str = "abc"
) -> Seen:
    names = ("spooled", "indexed", "dead_lettered", "waiting")
    account = Ledger(**dict(zip(names, book, strict=True)))
    return Seen(Counter(indexed), dead, account, frozenset("abcd"), frozenset(acknowledged))


@pytest.mark.parametrize(
    ("left", "duplicates", "unaccounted"),
    [
        (seen({"a": 1, "b": 1}, ["c"], (3, 2, 1, 0)), 0, 0),
        (seen({"a": 1, "b": 1, "d": 1}, ["c"], (4, 3, 1, 0)), 0, 0),
        (seen({"a": 1, "b": 2}, ["c"], (3, 2, 1, 0)), 1, 0),
        (seen({"a": 1, "b": 1}, ["c", "c"], (4, 2, 2, 0)), 1, 0),
        (seen({"a": 1}, ["c"], (2, 1, 1, 0)), 0, 1),
        (seen({"a": 1}, ["c"], (3, 2, 1, 0)), 0, 2),
        (seen({"a": 1, "b": 1}, [], (3, 2, 1, 0)), 0, 2),
        (seen({"a": 1, "b": 1, "z": 1}, ["c"], (4, 3, 1, 0)), 0, 1),
        (seen({"a": 1, "b": 1}, ["c"], (4, 2, 1, 0)), 0, 1),
    ],
    ids=[
        "as it should be", "written, and killed before it was acknowledged", "indexed twice", "set aside twice", "lost",
        "lost, and in the ledger", "a dead letter is gone", "never written", "the ledger is off",
    ],
)  # fmt: skip
def test_the_bench_sees_what_is_lost_and_what_came_twice(left, duplicates, unaccounted):
    figures = judge(left)
    assert (figures["duplicates"], figures["unaccounted"]) == (duplicates, unaccounted)
