"""Answers: a prediction from the version in service, a label into the spool."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, NoReturn

from observability.clock import Clock
from observability.ids import new_id
from observability.spool.writer import SpoolFull, SpoolWriter
from observability.telemetry.requests import REQUEST_ID
from serving.errors import Refused
from serving.poller import Poller
from serving.reporting import Answered, label_lines
from serving.requests import read_labels, read_object, read_rows
from serving.scoring import Scoring
from serving.slots import Rival, Slot
from serving.spooling import Spooling


class Answering:
    """What the routes do. Scoring takes a fraction of a millisecond, so it is done where the request is."""

    def __init__(self, poller: Poller, spool: SpoolWriter, privacy_key: bytes, clock: Clock) -> None:
        self._poller = poller
        self._spool = spool
        self._spooling = Spooling(spool)
        #: predictions and labels by model, since the start
        self.predicted = self._spooling.predicted
        self.labelled: Counter[str] = Counter()
        self._scoring = Scoring(privacy_key)
        self._clock = clock

    def check(self, authorization: bytes | None) -> None:
        """Raises Refused unless the token may ask."""
        self._poller.access.check(authorization, self._clock.now())

    async def predict(self, model: str, body: bytes) -> dict[str, Any]:
        """Answer the rows with the version in service, and remember what was answered before saying it."""
        started = time.perf_counter()
        now = self._clock.now()
        rows, event_times = read_rows(read_object(body), now)
        slot = self._slot(model)
        ids = [new_id() for _ in rows]
        verdict = self._scoring.score(slot, rows, ids[0])
        latency_ms = (time.perf_counter() - started) * 1000
        await self._spooling.remember(Answered(model, verdict, event_times, now, latency_ms, REQUEST_ID.get()), ids)
        given = verdict.given
        return {
            "model": model,
            "predictions": [
                {"id": i, "prediction": p, "score": s, "version": given.version}
                for i, p, s in zip(ids, given.predictions, given.scores, strict=True)
            ],
        }

    async def label(self, model: str, body: bytes) -> dict[str, Any]:
        """Take the labels; they are on the disk when this returns. A full spool takes none and says so."""
        now = self._clock.now()
        truths = read_labels(read_object(body), now)
        if model not in self._poller.slots.models:
            _no_model(model)
        try:
            await asyncio.wrap_future(self._spool.write_durably(label_lines(model, truths, now)))
        except SpoolFull as error:
            raise Refused(503, "spool_full", "labels cannot be remembered now: send them again later") from error
        self.labelled[model] += len(truths)
        return {"accepted": len(truths)}

    def rival_failures(self) -> dict[str, int]:
        """How many requests the rival in each slot could not score."""
        slots = self._poller.slots.serving
        return {model: self._scoring.counts(slot.rival)["failed"] for model, slot in slots.items() if slot.rival}

    def loaded(self) -> dict[str, Any]:
        """What answers, how its rivals do, and what the spool took and refused since the start."""
        slots = self._poller.slots
        return {
            "ready": slots.ready,
            "serving": [slot.production.wanted._asdict() for _, slot in sorted(slots.serving.items())],
            "rivals": [self._told(slot.rival) for _, slot in sorted(slots.serving.items()) if slot.rival],
            "loaded": [wanted._asdict() for wanted in self._poller.loaded],
            "failed": [{**wanted._asdict(), "reason": reason} for wanted, reason in self._poller.failed],
            "isolation": self._poller.isolation,
            "spool": {"written": self._spool.written, "refused": self._spool.refused},
        }

    def check_alive(self) -> None:
        """Raises Refused where the thread that follows the control plane has died: restart the process."""
        if not self._poller.is_alive():
            raise Refused(503, "not_alive", "the desired state is no longer followed: see the log, and restart")

    def check_ready(self) -> None:
        """Raises Refused while a model that should answer cannot."""
        if not self._poller.ready:
            raise Refused(503, "not_ready", "not every model has a version in service yet")

    def _told(self, rival: Rival) -> dict[str, Any]:
        return {**rival.loaded.wanted._asdict(), "share": rival.share, **self._scoring.counts(rival)}

    def _slot(self, model: str) -> Slot:
        slots = self._poller.slots
        slot = slots.serving.get(model)
        if slot is not None:
            return slot
        if model not in slots.models:
            _no_model(model)
        raise Refused(503, "no_version", f"no version of {model} is in service", {"model": model})


def _no_model(model: str) -> NoReturn:
    raise Refused(404, "no_such_model", f"there is no model {model[:128]!r}")
