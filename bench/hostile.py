"""Hostile callers are refused at once, at no memory, and at no neighbour's cost: real processes, real sockets.

`python -m bench.hostile [--short | --full]`. Serving and the control plane each get bodies that are too large, too deep
or too wide, while a neighbour in another process goes on asking. Then wrong tokens pour in on a new control plane, as
fast as one caller can send them, while another asks with a right one. The counts behind this are in
tests/security/test_hostile_payloads.py and test_controlplane_throttle.py.

Seconds without an attack, with one and with ten take turns, so that what else the machine does is in all three. What a
neighbour must not notice is one a second: a p99 tells of the slowest hundredth, and each door answers in one thread, so
that ten bodies a second of two milliseconds each, on a neighbour's own two to five, meet more than a hundredth of its
requests, however cheaply they are refused. What ten cost is told beside it.
"""

from __future__ import annotations

import itertools
import json
import math
import secrets
import select
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from bench.form import Claim, show
from bench.hostile_stage.neighbour import Asked, Neighbour, neighbour
from controlplane.access.tokens import mint
from controlplane.api.limits import limit_of
from tests.security.test_hostile_payloads import ATTACKS, PIECE, Server, answers, decides
from tests.serving_harness import PREDICT, ROW

#: turns of a second at each pace, wrong tokens
SIZES: Final = {"short": (4, 1_000), "default": (20, 8_000), "full": (80, 40_000)}
#: attacks in a second
PACES: Final = (0, 1, 10)
_TURN: Final = 1.0
_BETWEEN: Final = 0.1
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Attack:
    """A request in pieces."""

    name: str
    framing: str
    pieces: Sequence[bytes]
    declares: int | None = None

    def decided_by(self, limit: int) -> int:
        """The piece after which a server with this limit can know that it refuses; 0 is the head."""
        if self.declares is None:
            return limit // len(PIECE) + 1
        return 0 if self.declares > limit else len(self.pieces)


def attacks() -> list[Attack]:
    """The same attacks as the test's, in pieces."""
    chunk = b"10000\r\n" + PIECE + b"\r\n"
    fields, wide = _fields(100_000), _fields(80_000)
    made = [
        Attack("10 MB declared", f"Content-Length: {160 * len(PIECE)}", [PIECE] * 160, 160 * len(PIECE)),
        Attack("10 GB declared", f"Content-Length: {10 << 30}", [PIECE], 10 << 30),
        Attack("10 MB in chunks", "Transfer-Encoding: chunked", [chunk] * 160),
        _posted("lists 10,000 deep", b"[" * 10_000 + b"]" * 10_000),
        _posted("objects 10,000 deep", b'{"rows":' * 10_000 + b"0" + b"}" * 10_000),
        _posted("100,000 fields", fields),
        _posted("a text that never ends", b'{"rows":"' + b'\\"' * 400_000),
        _posted("as many fields as are read", _fields(4_900)),
        _posted("100,000 fields in a row", b'{"rows":[' + fields + b'],"labels":[' + fields + b"]}"),
        _posted("80,000 fields in a row", b'{"rows":[' + wide + b"]}"),
    ]
    assert {each.name for each in made} == set(ATTACKS)
    return made


def _posted(name: str, body: bytes) -> Attack:
    pieces = [body[at : at + len(PIECE)] for at in range(0, len(body), len(PIECE))]
    return Attack(name, f"Content-Length: {len(body)}", pieces, len(body))


def _fields(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":0' % number for number in range(count)) + b"}"


def refused(server: Server, target: tuple[str, str], attack: Attack) -> tuple[int, float]:
    """The status that answers, and the seconds until then: since the piece that decides was sent, or since the first
    where the answer came before that one.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        decided_by = attack.decided_by(limit_of({"method": target[0], "path": target[1]}))
        decided = time.monotonic()
        try:
            for number, piece in enumerate([server.head(target, attack.framing), *attack.pieces]):
                if number == decided_by:
                    decided = time.monotonic()
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            status = int(connection.recv(64).split()[1])
        except (ConnectionResetError, IndexError):
            status = 0
        return status, time.monotonic() - decided


@dataclass
class Seen:
    """What the attacker saw at one server, and the times at each pace."""

    refusals: list[tuple[str, float]] = field(default_factory=list)
    wrongly_answered: list[tuple[str, int]] = field(default_factory=list)
    times: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: {pace: [] for pace in PACES})
    grown: int = 0

    def attack(self, server: Server, todo: Iterator[tuple[Attack, tuple[str, str]]], pace: int) -> None:
        """Attack at this pace for a turn."""
        begun = time.monotonic()
        for attack, target in itertools.islice(todo, int(pace * _TURN)):
            status, took = refused(server, target, attack)
            self.refusals.append((attack.name, took))
            if status not in ATTACKS[attack.name][1]:
                self.wrongly_answered.append((attack.name, status))
            time.sleep(max(0.0, 1 / pace - took))
        time.sleep(max(0.0, begun + _TURN - time.monotonic()))
        self.times[pace].append((begun, time.monotonic()))

    def p99(self, caller: Neighbour, pace: int) -> float:
        """Of what the neighbour waited at this pace, in milliseconds."""
        asked = [each.seconds for window in self.times[pace] for each in caller.within(*window)]
        return round(1e3 * _p99(asked), 3)

    def slowest(self) -> dict[str, float]:
        """The most milliseconds of each attack."""
        most: dict[str, float] = {}
        for name, took in self.refusals:
            most[name] = max(most.get(name, 0.0), round(1e3 * took, 1))
        return most


@contextmanager
def memory(process: psutil.Process, seen: Seen) -> Iterator[None]:
    """Note by how much the resident memory of the process and its children grew, at its most."""
    family = [process, *process.children(recursive=True)]
    over = threading.Event()
    before = peak = _resident(family)

    def look() -> None:
        nonlocal peak
        while not over.wait(0.01):
            peak = max(peak, _resident(family))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        seen.grown = peak - before


def _resident(family: Sequence[psutil.Process]) -> int:
    return sum(each.memory_info().rss for each in family if each.is_running())


def payloads(running: AbstractContextManager[Server], asks: tuple[str, str, str], turns: int) -> dict[str, Any]:
    """The figures of hostile bodies at one server."""
    seen = Seen()
    with running as server:
        todo = itertools.cycle([(each, target) for each in attacks() for target in server.targets])
        with neighbour(server.port, server.token, *asks) as caller:
            time.sleep(1)
            with memory(server.process, seen):
                for _ in range(turns):
                    for pace in PACES:
                        seen.attack(server, todo, pace)
                        time.sleep(_BETWEEN)
    quiet, *attacked = (seen.p99(caller, pace) for pace in PACES)
    return {
        "attacks": len(seen.refusals),
        "wrongly_answered": len(seen.wrongly_answered),
        "refused_ms_median": round(1e3 * statistics.median(took for _, took in seen.refusals), 2),
        "refused_ms_p99": round(1e3 * _p99([took for _, took in seen.refusals]), 2),
        "refused_ms_max": seen.slowest(),
        "rss_growth_mib": round(seen.grown / _MIB, 1),
        "neighbours_requests": len(caller.asked),
        "neighbours_refused": _not_200(caller.asked),
        "neighbours_p99_ms_before": quiet,
        **{f"neighbours_p99_ms_at_{pace}_a_second": each for pace, each in zip(PACES[1:], attacked, strict=True)},
        **{
            f"neighbours_p99_rise_at_{pace}_a_second": round(each / quiet, 3)
            for pace, each in zip(PACES[1:], attacked, strict=True)
        },
    }


def wrong_tokens(running: AbstractContextManager[Server], count: int) -> dict[str, Any]:
    """The figures of so many wrong tokens, each of another account, from the address that also sends a right one."""
    answered: list[tuple[float, int]] = []
    with running as server, neighbour(server.port, server.token, "GET", "/api/v1/models", "") as caller:
        begun = time.monotonic()
        with server.client() as client:
            for _ in range(count):
                token = f"dg_{mint().id}_{secrets.token_urlsafe(32)}"
                status = client.get("/api/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code
                answered.append((time.monotonic(), status))
        ended = time.monotonic()
    asked = caller.within(begun, ended)
    wrong = [at for at, status in answered if status == 401]
    return {
        "wrong_tokens": len(answered),
        "wrong_tokens_per_s": round(count / (ended - begun)),
        "answered_429_after": next((turn for turn, (_, status) in enumerate(answered) if status == 429), count),
        "answered_401_in_a_minute": max((sum(at - 60 < other <= at for other in wrong) for at in wrong), default=0),
        "answered_otherwise": sum(status not in (401, 429) for _, status in answered),
        "right_tokens": len(asked),
        "right_tokens_refused": _not_200(asked),
        "right_token_p99_ms": round(1e3 * _p99([each.seconds for each in asked]), 2),
    }


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def _not_200(asked: Sequence[Asked]) -> int:
    return sum(each.status != 200 for each in asked)


def figures(turns: int, tokens: int) -> dict[str, Any]:
    begun = time.monotonic()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-hostile-") as made:
        folders = [Path(made) / name for name in ("serving", "control", "tokens")]
        for folder in folders:
            folder.mkdir()
        predicts = ("POST", PREDICT, json.dumps({"rows": [ROW]}))
        served = payloads(answers(folders[0]), predicts, turns)
        told |= {f"serving_{key}": value for key, value in served.items()}
        decided = payloads(decides(folders[1]), ("GET", "/api/v1/models", ""), turns)
        told |= {f"controlplane_{key}": value for key, value in decided.items()}
        told |= wrong_tokens(decides(folders[2]), tokens)
    return told | {"seconds": round(time.monotonic() - begun)}


def claims(told: dict[str, Any], tokens: int) -> list[Claim]:
    made = []
    for key, door in (("serving", "serving"), ("controlplane", "the control plane")):
        made += [
            Claim.of(f"{door}: bodies answered otherwise than refused", told[f"{key}_wrongly_answered"], "==", 0),
            Claim.of(f"{door}: milliseconds until a body is refused, p99", told[f"{key}_refused_ms_p99"], "<=", 50),
            Claim.of(f"{door}: MiB that memory grew under attack", told[f"{key}_rss_growth_mib"], "<=", 20),
            Claim.of(f"{door}: neighbours that were not answered", told[f"{key}_neighbours_refused"], "==", 0),
            Claim.of(
                f"{door}: neighbours' p99 over that before, at one attack a second",
                told[f"{key}_neighbours_p99_rise_at_1_a_second"],
                "<=",
                1.1,
            ),
        ]
    return [
        *made,
        Claim.of("wrong tokens sent", told["wrong_tokens"], ">=", tokens),
        Claim.of("wrong tokens until the first has to wait", told["answered_429_after"], "==", 10),
        Claim.of("wrong tokens answered as wrong in a minute", told["answered_401_in_a_minute"], "<=", 10),
        Claim.of("wrong tokens answered with neither 401 nor 429", told["answered_otherwise"], "==", 0),
        Claim.of("right tokens refused meanwhile", told["right_tokens_refused"], "==", 0),
    ]


def main() -> int:
    asked = set(sys.argv[1:])
    size = "full" if "--full" in asked else "short" if "--short" in asked else "default"
    turns, tokens = SIZES[size]
    told = figures(turns, tokens)
    return show("hostile", told, claims(told, tokens))


if __name__ == "__main__":
    sys.exit(main())
