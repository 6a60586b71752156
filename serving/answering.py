"""Answers: a prediction from the version in service, a label into the spool."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Any, NoReturn

from bundle.columns import BadRow, raw_columns
from bundle.privacy import filtered
from bundle.recipe import RecipeError
from observability.clock import Clock
from observability.ids import new_id
from observability.spool import SpoolFull, SpoolWriter
from serving.errors import Refused
from serving.poller import Poller
from serving.reporting import Answered, label_lines, prediction_lines, spool_predictions
from serving.requests import bad_row, read_labels, read_object, read_rows
from serving.slots import Loaded

_log = logging.getLogger("bentoml.driftgate.serving")


class Answering:
    """What the routes do. Scoring takes a fraction of a millisecond, so it is done where the request is."""

    def __init__(self, poller: Poller, spool: SpoolWriter, privacy_key: bytes, clock: Clock) -> None:
        self._poller = poller
        self._spool = spool
        self._key = privacy_key
        self._clock = clock

    def check(self, authorization: bytes | None) -> None:
        """Raises Refused unless the token may ask."""
        self._poller.access.check(authorization, self._clock.now())

    def predict(self, model: str, body: bytes) -> dict[str, Any]:
        """Answer the rows with the version in service, and remember what was answered before saying it."""
        started = time.perf_counter()
        now = self._clock.now()
        rows, event_times = read_rows(read_object(body), now)
        loaded = self._loaded(model)
        kept = [filtered(row, loaded.fields, self._key) for row in rows]
        features, scores, predictions = _score(loaded, kept)
        ids = [new_id() for _ in rows]
        version = loaded.wanted.version
        batch = Answered(
            model=model,
            version=version,
            raw=kept,
            features=features,
            scores=scores,
            predictions=predictions,
            event_times=event_times,
            observed=now,
            latency_ms=(time.perf_counter() - started) * 1000,
        )
        spool_predictions(self._spool, prediction_lines(batch, ids))
        return {
            "model": model,
            "predictions": [
                {"id": i, "prediction": p, "score": s, "version": version}
                for i, p, s in zip(ids, predictions, scores, strict=True)
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
        return {"accepted": len(truths)}

    def loaded(self) -> dict[str, Any]:
        """What answers, and what the spool took and refused since the start."""
        slots = self._poller.slots
        return {
            "ready": slots.ready,
            "serving": [loaded.wanted._asdict() for _, loaded in sorted(slots.serving.items())],
            "loaded": [wanted._asdict() for wanted in self._poller.loaded],
            "failed": [{**wanted._asdict(), "reason": reason} for wanted, reason in self._poller.failed],
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

    def _loaded(self, model: str) -> Loaded:
        slots = self._poller.slots
        loaded = slots.serving.get(model)
        if loaded is not None:
            return loaded
        if model not in slots.models:
            _no_model(model)
        raise Refused(503, "no_version", f"no version of {model} is in service", {"model": model})


def _no_model(model: str) -> NoReturn:
    raise Refused(404, "no_such_model", f"there is no model {model[:128]!r}")


def _score(loaded: Loaded, rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[float], list[int]]:
    try:
        features, scores = loaded.scorer.score(raw_columns(rows, loaded.fields))
    except BadRow as error:
        raise bad_row(error.row, error.field, error.message) from error
    except (RecipeError, SystemExit) as error:
        _log.exception("%s version %d cannot answer", loaded.wanted.model, loaded.wanted.version)
        raise _version_failed(loaded, "its feature function failed") from error
    answers: list[float] = scores.tolist()
    if not all(map(math.isfinite, answers)):
        raise _version_failed(loaded, "a score is not a number")
    return features, answers, loaded.scorer.answer(scores).tolist()


def _version_failed(loaded: Loaded, why: str) -> Refused:
    version = loaded.wanted.version
    return Refused(500, "version_failed", f"version {version} cannot answer: {why}", {"version": version})
