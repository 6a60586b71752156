"""What requests that are answered together may rely on, although they share one write into the spool."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
import pytest

from observability.spool import writer as spool_module
from observability.spool.writer import SpoolError, SpoolWriter, segments_of
from serving.desired import Wanted
from serving.reporting import Answered
from serving.scoring import Scored, Verdict
from serving.slots import Loaded
from serving.spooling import MOST_LINES, Spooling

MODEL = "default/tiny"
LOADED = Loaded(Wanted(MODEL, 3, "digest"), cast(Any, None))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolWriter]:
    with SpoolWriter(tmp_path / "serving-0") as writer:
        yield writer


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each write(2) of the spool took."""
    taken: list[int] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        taken.append(real(descriptor, data))
        return taken[-1]

    monkeypatch.setattr(spool_module.os, "write", write)
    return taken


def answered(rows: int = 1, text: object = "x") -> Answered:
    features = {"n": np.ones(rows, dtype=np.float32)}
    given = Scored(LOADED, [{"text": text}] * rows, features, [0.25] * rows, [0] * rows, 0.25)
    return Answered(MODEL, Verdict(given), None, observed=datetime(2026, 3, 29, tzinfo=UTC), latency_ms=0.5)


def spooled(spool: SpoolWriter) -> list[str]:
    """The ids of the predictions in the files."""
    lines = [line for path in segments_of(spool.folder) for line in path.read_bytes().splitlines()]
    return [orjson.loads(line)["event"]["id"] for line in lines]


def together(*requests: Awaitable[None]) -> list[BaseException | None]:
    """What came of requests that the event loop handles in one turn."""

    async def all_of_them() -> list[BaseException | None]:
        return await asyncio.gather(*requests, return_exceptions=True)

    return asyncio.run(all_of_them())


def test_requests_of_one_turn_share_a_write_and_each_is_answered_only_after_it(spool, writes):
    spooling, seen = Spooling(spool), {}

    async def ask(number: int) -> None:
        await spooling.remember(answered(), [str(number)])
        seen[str(number)] = spooled(spool)

    assert together(*(ask(number) for number in range(20))) == [None] * 20
    assert len(writes) == 1
    assert all(number in lines for number, lines in seen.items())
    assert spooled(spool) == [str(number) for number in range(20)]
    assert spooling.predicted == {MODEL: 20}


def test_a_request_that_is_alone_waits_for_nothing_but_the_next_turns(spool):
    async def turns() -> int:
        asked = asyncio.create_task(Spooling(spool).remember(answered(), ["alone"]))
        taken = 0
        while not asked.done():
            await asyncio.sleep(0)
            taken += 1
        return taken

    assert asyncio.run(turns()) <= 3
    assert spooled(spool) == ["alone"]


def test_one_that_is_cancelled_takes_neither_its_line_nor_the_others_with_it(spool):
    spooling = Spooling(spool)

    async def cancel_the_first() -> list[BaseException | None]:
        asked = [asyncio.create_task(spooling.remember(answered(), [name])) for name in "abc"]
        await asyncio.sleep(0)
        asked[0].cancel()
        return await asyncio.gather(*asked, return_exceptions=True)

    gone, *others = asyncio.run(cancel_the_first())
    assert isinstance(gone, asyncio.CancelledError)
    assert others == [None, None]
    assert spooled(spool) == ["a", "b", "c"]
    assert spooling.predicted == {MODEL: 3}


def test_a_line_that_cannot_be_built_fails_its_own_request_alone(spool):
    spooling = Spooling(spool)
    one, bad, other = together(
        spooling.remember(answered(), ["one"]),
        spooling.remember(answered(text=object()), ["bad"]),
        spooling.remember(answered(), ["other"]),
    )
    assert (one, other) == (None, None)
    assert isinstance(bad, TypeError)
    assert spooled(spool) == ["one", "other"]
    assert spooling.predicted == {MODEL: 2}


def _broken(_descriptor: int, _data: bytes) -> int:
    raise OSError(errno.EIO, "broken")


def _room_for(size: int) -> Callable[[int, bytes], int]:
    real, left = os.write, [size]

    def write(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "full")
        taken = real(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    return write


@pytest.mark.parametrize(("write", "kept"), [(_broken, 0), (_room_for(1_000), 2)], ids=["broken", "full"])
def test_a_disk_that_takes_no_more_costs_lines_counted_one_by_one_and_no_answer(spool, monkeypatch, write, kept):
    spooling = Spooling(spool)
    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "write", write)
        assert together(*(spooling.remember(answered(), [name]) for name in "abcde")) == [None] * 5
    assert (spool.written, spool.refused) == (kept, 5 - kept)
    assert together(spooling.remember(answered(), ["later"])) == [None]
    assert spooled(spool) == [*"abcde"[:kept], "later"]
    assert spooling.predicted[MODEL] == spool.written + spool.refused == 6


def test_once_the_spool_is_closed_every_request_fails_and_none_counts_as_answered(spool):
    spool.close()
    spooling = Spooling(spool)
    outcomes = together(*(spooling.remember(answered(), [name]) for name in "ab"))
    assert [type(outcome) for outcome in outcomes] == [SpoolError, SpoolError]
    assert not spooling.predicted


def test_one_write_does_not_grow_with_every_large_request_of_a_turn(spool, writes):
    spooling, rows = Spooling(spool), MOST_LINES // 2
    ids = [[f"{request}-{row}" for row in range(rows)] for request in range(5)]
    assert together(*(spooling.remember(answered(rows), each) for each in ids)) == [None] * 5
    assert len(writes) == 3
    assert spooled(spool) == [name for each in ids for name in each]
