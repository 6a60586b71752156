"""Every firing happens exactly once, though the processes die: real SIGKILL and SIGSTOP, both databases.

`python -m bench.crash [--short | --full] [--database sqlite|postgresql] [--seed N]`. The real reconciler, store and
trainer; only what the training processes do is played. Kills come at the named points of the code (`work.CrashPoint`)
and from outside at any instant; holders of leases are stopped for longer than two leases, and go on.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bench.crash_stage.plan import Plan
from bench.crash_stage.stage import Stage
from bench.crash_stage.verdict import judge, look
from bench.form import Claim, show
from tests.servers.postgres import Postgres

DATABASES: Final = ("sqlite", "postgresql")
TAKE_OVER_SECONDS: Final = 5.0
#: models, rounds, kills at named points, kills from outside, stops
SIZES: Final[Mapping[str, tuple[int, int, int, int, int]]] = {
    "short": (20, 3, 16, 8, 5),
    "default": (50, 40, 400, 200, 200),
    "full": (50, 100, 1000, 500, 500),
}


def planned(database: str, url: str, folder: Path, size: str, seed: int) -> Plan:
    """Three replicas on PostgreSQL; one on SQLite, where a second runs only while a first is stopped."""
    models, rounds, named, outside, stops = SIZES[size]
    one = database == "sqlite"
    return Plan(
        database=database, url=url, folder=folder, models=models, rounds=rounds, replicas=1 if one else 3,
        named_kills=named, outside_kills=outside, stops=stops, lease=timedelta(seconds=0.25 if one else 0.5),
        stopped_at_once=3, seed=seed,
    )  # fmt: skip


@contextmanager
def opened(database: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of this kind."""
    if database == "sqlite":
        yield f"sqlite:///{folder}/control.db"
        return
    server = Postgres()
    try:
        yield server.empty()
    finally:
        server.stop()


def played(database: str, size: str, seed: int, keep: Path | None) -> dict[str, Any]:
    """The figures of one database."""
    folder = Path(tempfile.mkdtemp(prefix=f"bench-crash-{database}-", dir=keep))
    try:
        with opened(database, folder) as url:
            plan = planned(database, url, folder, size, seed)
            begun = time.monotonic()
            Stage(plan).play()
            seconds = round(time.monotonic() - begun, 1)
            return {"replicas": plan.replicas, **judge(plan, look(plan)), "seconds": seconds}
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def claims(database: str, figures: Mapping[str, Any], plan: Plan) -> list[Claim]:
    """What the figures of one database should hold, on whatever machine."""
    kills = plan.named_kills + plan.outside_kills
    none = ("lost", "doubled", "misjudged", "events_lost", "stale_writes")
    return [
        Claim.of(f"{database}: firings", figures["firings"], ">=", plan.firings),
        Claim.of(f"{database}: SIGKILLs at named points and from outside", figures["kills"], ">=", kills),
        Claim.of(f"{database}: holders of a lease stopped", figures["stops"], ">=", plan.stops),
        *(Claim.of(f"{database}: {name.replace('_', ' ')}", figures[name], "==", 0) for name in none),
    ]


def in_time(database: str, figures: Mapping[str, Any], plan: Plan) -> Claim:
    """How soon another takes over depends on the machine, too: asked of the bench, and not of its short form."""
    bar = plan.lease.total_seconds() + TAKE_OVER_SECONDS
    return Claim.of(f"{database}: seconds until another took over, p99", figures["take_over_p99_s"], "<=", bar)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.crash")
    parser.add_argument("--short", dest="size", action="store_const", const="short", default="default")
    parser.add_argument("--full", dest="size", action="store_const", const="full")
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder in which all that was written stays")
    asked = parser.parse_args()
    figures: dict[str, Any] = {"seed": asked.seed}
    held: list[Claim] = []
    for database in asked.database or DATABASES:
        of_one = played(database, asked.size, asked.seed, asked.keep)
        figures |= {f"{database}_{name}": value for name, value in of_one.items()}
        plan = planned(database, "", Path(), asked.size, asked.seed)
        held += claims(database, of_one, plan)
        if asked.size != "short":
            held.append(in_time(database, of_one, plan))
    return show("crash", figures, held)


if __name__ == "__main__":
    sys.exit(main())
