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
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from bench.form import Claim, show
from bench.hostile_stage.attacks import Attack, attacks, refused
from bench.hostile_stage.neighbour import Asked, Neighbour, neighbour
from controlplane.access.tokens import mint
from tests.security.test_hostile_payloads import ATTACKS, Server, answers, decides
from tests.serving_harness import PREDICT, ROW

#: turns of a second at each pace, wrong tokens
SIZES: Final = {"short": (4, 1_000), "default": (20, 8_000), "full": (80, 40_000)}
#: attacks in a second
PACES: Final = (0, 1, 10)
_TURN: Final = 1.0
_BETWEEN: Final = 0.1
_MIB: Final = 1 << 20


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


def processor_ms(server: Server, todo: Iterable[tuple[Attack, tuple[str, str]]]) -> float:
    """The milliseconds of a processor that a refusal costs the server, which what else runs moves little."""
    family = [server.process, *server.process.children(recursive=True)]
    before = _worked(family)
    taken = [refused(server, target, attack) for attack, target in todo]
    return round(1e3 * (_worked(family) - before) / len(taken), 2)


def _worked(family: Sequence[psutil.Process]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in family if each.is_running())


def _resident(family: Sequence[psutil.Process]) -> int:
    return sum(each.memory_info().rss for each in family if each.is_running())


def payloads(running: AbstractContextManager[Server], asks: tuple[str, str, str], turns: int) -> dict[str, Any]:
    """The figures of hostile bodies at one server."""
    seen = Seen()
    with running as server:
        todo = itertools.cycle([(each, target) for each in attacks() for target in server.targets])
        with memory(server.process, seen):  # before a neighbour's own requests move it
            worked = processor_ms(server, itertools.islice(todo, turns * len(ATTACKS)))
        with neighbour(server.port, server.token, *asks) as caller:
            time.sleep(1)
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
        "refused_processor_ms": worked,
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
