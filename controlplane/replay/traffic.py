"""The caller's side of a replay: requests and late labels over HTTP, every failure counted and none tried again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from controlplane.replay.rows import Answer, ReplayRow, batches

LABELS_PER_REQUEST = 500


class Traffic:
    """Sends rows to one model's endpoint with a bounded number of requests in flight."""

    def __init__(self, url: str, token: str, model: str, horizon: timedelta, callers: int = 6) -> None:
        self.answers: list[Answer] = []
        self.requests_ok = 0
        #: what went wrong, by kind
        self.failures: Counter[str] = Counter()
        self._path = f"/v1/models/{model}"
        self._horizon = horizon
        self._callers = callers
        self._unlabelled: deque[Answer] = deque()
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30.0, trust_env=False
        )

    @property
    def requests_failed(self) -> int:
        return sum(self.failures.values())

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, rows: Sequence[ReplayRow], rows_per_request: int = 1) -> None:
        """Ask for every row; returns when all are answered."""
        waiting = deque(batches(rows, rows_per_request))

        async def caller() -> None:
            while waiting:
                await self._predict(waiting.popleft())

        await asyncio.gather(*(caller() for _ in range(min(self._callers, len(waiting)))))

    async def send_labels(self, until: datetime) -> int:
        """Report the truth of every answered row whose horizon has passed; returns how many were accepted."""
        due: list[Answer] = []
        while self._unlabelled and self._unlabelled[0].row.event_time + self._horizon <= until:
            due.append(self._unlabelled.popleft())
        accepted = 0
        for start in range(0, len(due), LABELS_PER_REQUEST):
            labels = [self._label(answer) for answer in due[start : start + LABELS_PER_REQUEST]]
            answer = await self._post("labels", {"labels": labels})
            accepted += answer["accepted"] if answer else 0
        return accepted

    def _label(self, answer: Answer) -> dict[str, Any]:
        label_time = answer.row.event_time + self._horizon
        return {
            "prediction_id": answer.prediction_id,
            "label": answer.row.label,
            "label_time": label_time.isoformat(),
        }

    async def _predict(self, rows: Sequence[ReplayRow]) -> None:
        body = {
            "rows": [row.raw for row in rows],
            "event_times": [row.event_time.isoformat() for row in rows],
        }
        answer = await self._post("predict", body)
        if answer is None:
            return
        now = time.time()
        for row, said in zip(rows, answer["predictions"], strict=True):
            answered = Answer(row, said["id"], said["score"], said["version"], now)
            self.answers.append(answered)
            self._unlabelled.append(answered)

    async def _post(self, route: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        try:
            response = await self._client.post(f"{self._path}/{route}", json=body)
        except httpx.TransportError as error:
            self.failures[f"{route}: {type(error).__name__}"] += 1
            return None
        if not response.is_success:
            self.failures[f"{route}: {response.status_code}"] += 1
            return None
        self.requests_ok += 1
        return response.json()
