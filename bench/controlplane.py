"""What a tick and a page cost with 1,000 models of 10 rules and 1,000,000 stored decisions, on both databases.

`python -m bench.controlplane [--full] [--database sqlite|postgresql]`. Cost should grow with what changed, not what
exists: `tick_growth` is the time of a tick in which 50 models changed, at 1,000 models over at 100. Pages are asked for
over HTTP, of a server process of its own, one after the other.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import uvicorn
from sqlalchemy import Engine, insert
from sqlmodel import Session

from bench.crash import DATABASES, opened
from bench.form import Claim, show
from bundle.blobs import BlobStore
from controlplane.access.auth import Authenticator, digest_of_token, new_token
from controlplane.api import Parts, create_app
from controlplane.lifecycle import RunState, VersionState
from controlplane.loop.reconcile import Reconciler
from controlplane.loop.trainer import MemoryTrainer
from controlplane.store import Store, open_engine
from controlplane.tables import DecisionRecord, Firing, TrainingRun, Version
from observability.clock import SystemClock
from observability.ids import new_id
from tests.controlplane_world import DRIFT, RECIPE, START, FakeClock, MemoryLines, spec
from tests.serving_harness import free_port, wait_until

MODELS: Final = 1_000
FEW: Final = 100
CHANGED: Final = 50
BATCH: Final = 10_000
RULES: Final = (
    *(DRIFT | {"name": f"drift-{number}", "drifted_share": 0.2 * number} for number in (1, 2, 3)),
    *({"name": f"{metric}-low", "kind": "metric", "monitor": "weekly", "metric": metric.replace("-", "_"), "below": 0.1}
      for metric in ("roc-auc", "pr-auc")),
    {"name": "new-places", "kind": "novelty", "monitor": "weekly", "features": ["place"], "unseen_share": 0.3},
    {"name": "volume", "kind": "volume", "new_labelled_rows": 1_000_000_000},
    {"name": "monthly", "kind": "schedule", "every": "30d"}, {"name": "quarterly", "kind": "schedule", "every": "90d"},
    {"name": "yearly", "kind": "schedule", "every": "365d"},
)  # fmt: skip


def name_of(number: int) -> str:
    return f"bench/m{number:04d}"


class Seeded:
    """A database with so many models in production."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = open_engine(url)
        self.store, self.clock = Store(self.engine), FakeClock()
        self.changes = 0

    def add_models(self, first: int, behind: int) -> None:
        """Apply them, each with a version in production."""
        for number in range(first, behind):
            self.store.apply_model(spec(RULES, name_of(number)), RECIPE, START)
        with Session(self.engine) as session:
            for number in range(first, behind):
                for row in _history(name_of(number)):
                    session.add(row)
                    session.flush()
            session.commit()

    def add_decisions(self, count: int) -> None:
        """Spread over the models, straight into the table."""
        for start in range(0, count, BATCH):
            rows = [_decision(name_of(number % MODELS), number) for number in range(start, min(start + BATCH, count))]
            with self.engine.begin() as connection:
                connection.execute(insert(DecisionRecord), rows)

    def change(self, models: int) -> None:
        """Something that the rules of the first so many look at has changed."""
        self.changes += 1
        for number in range(models):
            self.store.observe(name_of(number), 1, self.clock.now(), self.changes, self.clock.now())

    def tick_seconds(self, changed: int, repeated: int = 5) -> float:
        """Of a tick after which nothing waits in the outbox, the median."""
        control = Reconciler(
            store=self.store, trainer=MemoryTrainer(), blobs=BlobStore(Path(tempfile.gettempdir()) / "none"),
            clock=self.clock, lines=MemoryLines(),
        )  # fmt: skip
        while self.store.unpublished(1) or self.store.due_models(self.clock.now()):
            control.tick()
        took = []
        for _ in range(repeated):
            self.change(changed)
            begun = time.perf_counter()
            control.tick()
            took.append(time.perf_counter() - begun)
        return statistics.median(took)


def _history(model: str) -> Iterator[DecisionRecord | Firing | TrainingRun | Version]:
    decision, firing, key = new_id(), new_id(), new_id()
    said = {"model": model, "rule": "manual", "kind": "manual", "cause": key, "reason": "RETRAIN_ASKED", "detail": ""}
    yield DecisionRecord(
        **said, id=decision, turn=1, outcome="fire", numbers={}, decided_at=START, recorded_at=START
    )  # fmt: skip
    yield Firing(
        **said, id=firing, trigger="manual", decision_id=decision, fired_at=START, recorded_at=START
    )  # fmt: skip
    yield TrainingRun(
        key=key, firing_id=firing, model=model, state=RunState.SUCCEEDED, request={}, asked_at=START, recorded_at=START,
        started_at=START, ended_at=START, ended_recorded_at=START,
    )  # fmt: skip
    yield Version(
        model=model, number=1, state=VersionState.PRODUCTION, manifest="a" * 64, onnx_sha256="b" * 64, run_key=key,
        firing_id=firing, dataset={"rows": 500}, metrics={"roc_auc": 0.8}, constant_metrics={}, champion_metrics={},
        parity={}, gate_rows="c" * 64, mlflow_run_id="m", mlflow_version="1", bento_tag="b:1", train_until=START,
        made_at=START, state_at=START, promoted_at=START, first_promoted_at=START, recorded_at=START,
        promoted_recorded_at=START,
    )  # fmt: skip


def _decision(model: str, number: int) -> dict[str, Any]:
    at = START - timedelta(days=365) + timedelta(seconds=number)
    return {
        "id": new_id(), "model": model, "rule": f"drift-{number % 3 + 1}", "kind": "drift", "cause": f"old-{number}",
        "turn": 1, "outcome": "wait", "reason": "WAIT_STABLE", "detail": "10% of features drifted, threshold 20%",
        "numbers": {"drifted_share": 0.1, "threshold": 0.2, "rows": 1000}, "version": 1, "decided_at": at,
        "recorded_at": at,
    }  # fmt: skip


def serve(url: str, port: int) -> None:
    """The API, until it is ended."""
    store = Store(open_engine(url))
    parts = Parts(store, BlobStore(Path(tempfile.gettempdir()) / "none"), SystemClock(), Authenticator(store))
    uvicorn.run(create_app(parts), host="127.0.0.1", port=port, log_level="warning")


@contextmanager
def served(url: str, token: str) -> Iterator[httpx.Client]:
    """A client of a server process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.controlplane", "--serve", url, str(port)])
    base, headers = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=60, trust_env=False) as client:
            wait_until(lambda: _answers(client), "the API answers", 60)
            yield client
    finally:
        process.terminate()
        process.wait(20)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


def pages(client: httpx.Client, requests: int, rng: random.Random) -> dict[str, float]:
    """Milliseconds of each kind of page, over models at random."""

    def model() -> str:
        return f"/api/v1/models/{name_of(rng.randrange(MODELS))}"

    kinds = {
        "list": lambda: f"/api/v1/models?limit=50&cursor={cursor}" if rng.random() < 0.5 else "/api/v1/models?limit=50",
        "detail": model,
        "decisions": lambda: f"{model()}/decisions?limit=50",
    }
    cursor = client.get("/api/v1/models?limit=50").json()["next"]
    figures = {}
    for kind, path in kinds.items():
        took = [_milliseconds(client, path()) for _ in range(requests + 20)][20:]
        figures |= {f"{kind}_p{p}_ms": round(float(np.percentile(took, p)), 2) for p in (50, 99)}
    return figures


def _milliseconds(client: httpx.Client, path: str) -> float:
    begun = time.perf_counter()
    client.get(path).raise_for_status()
    return 1000 * (time.perf_counter() - begun)


def measured(url: str, decisions: int, requests: int) -> dict[str, float]:
    """The figures of one database."""
    seeded, token = Seeded(url), new_token()
    seeded.store.add_token("bench", digest_of_token(token), ["read"])
    seeded.add_models(0, FEW)
    few = seeded.tick_seconds(CHANGED)
    seeded.add_models(FEW, MODELS)
    seeded.add_decisions(decisions)
    many = seeded.tick_seconds(CHANGED)
    figures = {
        "models": MODELS, "rules": MODELS * len(RULES), "decisions": decisions,
        "tick_s": round(seeded.tick_seconds(MODELS, 3), 3), "tick_quiet_s": round(seeded.tick_seconds(0), 4),
        f"tick_{CHANGED}_of_{FEW}_s": round(few, 4), f"tick_{CHANGED}_of_{MODELS}_s": round(many, 4),
        "tick_growth": round(many / few, 2),
    }  # fmt: skip
    seeded.engine.dispose()
    with served(url, token) as client:
        return figures | pages(client, requests, random.Random(1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.controlplane")
    parser.add_argument("--full", action="store_true", help="ten times the requests")
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--serve", nargs=2, metavar=("URL", "PORT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve[0], int(asked.serve[1]))
        return 0
    figures: dict[str, Any] = {}
    claims = []
    for database in asked.database or DATABASES:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="bench-control-") as folder, opened(database, Path(folder)) as url:
            of_one = measured(url, asked.decisions, 3_000 if asked.full else 300)
        growth = Claim.of(f"{database}: a tick at 1,000 models over one at 100", of_one["tick_growth"], "<", 1.5)
        claims.append(growth)
        figures |= {f"{database}_{name}": value for name, value in of_one.items()}
        figures[f"{database}_seconds"] = round(time.monotonic() - begun)
    return show("controlplane", figures, claims)


if __name__ == "__main__":
    sys.exit(main())
