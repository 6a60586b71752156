"""A model that is served elsewhere: its reference, its events, and the monitor with the real judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from controlplane.access.auth import Authenticator, digest_of_token, new_token
from controlplane.api import Parts, create_app
from controlplane.loop.monitoring import reconcile_windows
from controlplane.loop.watch import Watch
from controlplane.replayclock import ReplayClock
from observability.embedded.store import ParquetLogStore
from observability.events import parse
from tests.controlplane_world import DRIFT, MODEL, START, MemoryLines, World, spec

EVENTS, VERSIONS = f"/api/v1/models/{MODEL}/events", f"/api/v1/models/{MODEL}/versions"
ERRORS = {"name": "worse", "kind": "metric", "monitor": "weekly", "metric": "error", "above": 0.4, "min_labels": 20}


def reference(rows: int = 400, seed: int = 1, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.05, 0.95, rows)
    body = {
        "features": {"followers": list(rng.normal(100, 10, rows)), "place": [*rng.choice(["x", "y", "z"], rows)]},
        "event_time": [(START - timedelta(hours=rows - row)).isoformat() for row in range(rows)],
        "score": list(score),
        "label": [int(each) for each in rng.random(rows) < score],
        "reason": "last month's rows",
    }
    return body | changes


def predictions(count: int, first: int = 0, mean: float = 100.0, seed: int = 2) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"p{number}",
            "event_time": (START + timedelta(minutes=number)).isoformat(),
            "features": {"followers": float(rng.normal(mean, 10)), "place": str(rng.choice(["x", "y", "z"]))},
            "score": float(rng.uniform(0.05, 0.95)),
        }
        for number in range(first, first + count)
    ]


class Elsewhere(World):
    """A model without an entry, behind the API."""

    def __init__(self, folder: Path, rules: Sequence[Mapping[str, Any]] = (DRIFT, ERRORS), **changes: Any) -> None:
        super().__init__(folder, spec([dict(each) for each in rules], **({"entry": None} | changes)))
        self.logs, self.api = ParquetLogStore(folder / "logs"), self.client("apply")

    def client(self, scope: str, **changes: Any) -> TestClient:
        token = new_token()
        self.store.add_token(new_token(), digest_of_token(token), [scope])
        self.posted = MemoryLines()
        parts = Parts(
            self.store, self.blobs, ReplayClock(self.store), Authenticator(self.store), lines=self.posted, **changes
        )  # fmt: skip
        return TestClient(create_app(parts), headers={"Authorization": f"Bearer {token}"})

    def post(self, **events: Any) -> Any:
        answer = self.api.post(EVENTS, json=events)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ship(self) -> None:
        """What was posted comes into the log store, as the shipper brings it."""
        assert self.logs.append([parse(line) for line in self.posted.lines]) == []
        self.posted.lines.clear()

    def watch(self) -> None:
        from observability.monitors.judging import judge

        reconcile_windows(
            Watch(store=self.store, logs=self.logs, blobs=self.blobs, clock=self.clock, score=judge)
        )  # fmt: skip
